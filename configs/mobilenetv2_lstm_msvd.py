# Frozen features: cnnlstm-mm extract configs/mobilenetv2_lstm_msvd.py --out data/features/mobilenetv2_msvd, then
# cnnlstm-mm train configs/mobilenetv2_lstm_msvd.py --features data/features/mobilenetv2_msvd.
_base_ = ['_base_/backbones/mobilenetv2.py', '_base_/necks/lstm.py', '_base_/recipes/msvd.py']
model = _base_.pop('neck_part') | _base_.pop('recipe_part')
