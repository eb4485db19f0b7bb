_base_ = [
    '_base_/models/mobilenetv2tsm_lightconvlstm.py',
    '_base_/datasets/hmdb51_8.py',
    '_base_/schedules/sgd_50e.py',
    '_base_/default_runtime.py',
]

model = dict(cls_head=dict(num_classes=51))
