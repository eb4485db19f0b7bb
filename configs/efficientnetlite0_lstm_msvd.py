# Frozen features:
# cnnlstm-mm extract configs/efficientnetlite0_lstm_msvd.py --out data/features/efficientnetlite0_msvd
# cnnlstm-mm train configs/efficientnetlite0_lstm_msvd.py --features data/features/efficientnetlite0_msvd
_base_ = ['_base_/backbones/efficientnetlite0.py', '_base_/necks/lstm.py', '_base_/recipes/msvd.py']
model = _base_.pop('neck_part') | _base_.pop('recipe_part')
