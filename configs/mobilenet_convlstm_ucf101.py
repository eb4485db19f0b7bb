# The seed model: MobileNet v1, 32 frames of 224x224, ConvLSTM 256 3x3.
_base_ = [
    '_base_/backbones/mobilenet.py',
    '_base_/necks/convlstm_flatten.py',
    '_base_/recipes/ucf101.py',
]
model = _base_.pop('neck_part') | _base_.pop('recipe_part')
