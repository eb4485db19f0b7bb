_base_ = [
    '_base_/models/mobilenet_lstm.py',
    '_base_/datasets/weizmann_8.py',
    '_base_/schedules/adamw_8e.py',
    '_base_/default_runtime.py',
]

model = dict(backbone=dict(frozen=True), cls_head=dict(num_classes=10))
