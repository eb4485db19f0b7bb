_base_ = [
    '_base_/models/resnet50_lstm.py',
    '_base_/datasets/ucf101_8.py',
    '_base_/schedules/sgd_50e.py',
    '_base_/default_runtime.py',
]
