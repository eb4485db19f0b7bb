_base_ = [
    '_base_/models/mobilenetv2_convlstm.py',
    '_base_/datasets/ucf101.py',
    '_base_/schedules/sgd_50e.py',
    '_base_/default_runtime.py',
]
