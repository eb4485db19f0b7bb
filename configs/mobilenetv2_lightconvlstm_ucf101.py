# 3.12 G multiply-adds a view of 8 frames; TSM-MobileNetV2's costs 3.27.
_base_ = [
    '_base_/models/mobilenetv2_lightconvlstm.py',
    '_base_/datasets/ucf101_8.py',
    '_base_/schedules/sgd_50e.py',
    '_base_/default_runtime.py',
]
