_base_ = [
    '_base_/models/mobilenet_lstm.py',
    '_base_/datasets/hmdb51.py',
    '_base_/schedules/sgd_50e.py',
    '_base_/default_runtime.py',
]

model = dict(cls_head=dict(num_classes=51))
