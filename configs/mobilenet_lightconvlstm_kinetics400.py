_base_ = [
    '_base_/models/mobilenet_lightconvlstm.py',
    '_base_/datasets/kinetics400.py',
    '_base_/schedules/sgd_100e.py',
    '_base_/default_runtime.py',
]

model = dict(cls_head=dict(num_classes=400))
