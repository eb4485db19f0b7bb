# The seed model: MobileNet v1, 32 frames of 224x224, ConvLSTM 256 3x3.
_base_ = [
    '_base_/models/mobilenet_convlstm.py',
    '_base_/datasets/ucf101.py',
    '_base_/schedules/sgd_50e.py',
    '_base_/default_runtime.py',
]

# False trains the backbone, True keeps its ImageNet weights.
model = dict(backbone=dict(frozen=False))
