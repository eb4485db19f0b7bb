_base_ = [
    '_base_/models/mobilenetv2tsm_lstm.py',
    '_base_/datasets/kinetics400_8.py',
    '_base_/schedules/sgd_100e.py',
    '_base_/default_runtime.py',
]

model = dict(cls_head=dict(num_classes=400))
