# Frozen features: cnnlstm-mm extract configs/resnet50_lstm_msrvtt.py --out data/features/resnet50_msrvtt, then
# cnnlstm-mm train configs/resnet50_lstm_msrvtt.py --features data/features/resnet50_msrvtt.
_base_ = ['_base_/backbones/resnet50.py', '_base_/necks/lstm.py', '_base_/recipes/msrvtt.py']
model = _base_.pop('neck_part') | _base_.pop('recipe_part')
