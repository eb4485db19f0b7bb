# Frozen features:
# cnnlstm-mm extract configs/efficientnetlite0_lstm_msrvtt.py --out data/features/efficientnetlite0_msrvtt
# cnnlstm-mm train configs/efficientnetlite0_lstm_msrvtt.py --features data/features/efficientnetlite0_msrvtt
_base_ = [
    '_base_/backbones/efficientnetlite0.py',
    '_base_/necks/lstm.py',
    '_base_/recipes/msrvtt.py',
]
model = _base_.pop('neck_part') | _base_.pop('recipe_part')
