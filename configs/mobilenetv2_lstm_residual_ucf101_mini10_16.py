_base_ = [
    '_base_/backbones/mobilenetv2_frozen3.py',
    '_base_/necks/lstm_residual.py',
    '_base_/recipes/ucf101_mini10_16_residual.py',
]
model = _base_.pop('neck_part') | _base_.pop('recipe_part')

starts_from = 'mobilenetv2_avgpool_ucf101_mini10_16.py'
