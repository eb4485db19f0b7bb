_base_ = [
    '_base_/models/mobilenet_convlstm.py',
    '_base_/datasets/ucf101_mini10.py',
    '_base_/schedules/adamw_8e.py',
    '_base_/default_runtime.py',
]

model = dict(backbone=dict(frozen=True), cls_head=dict(num_classes=10))
optim_wrapper = dict(optimizer=dict(lr=1e-4))
