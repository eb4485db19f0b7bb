_base_ = [
    '_base_/backbones/mobilenet.py',
    '_base_/necks/lstm_last.py',
    '_base_/recipes/ucf101_mini10.py',
]
# Label smoothing was chosen on the 100 validation clips.
model = (
    _base_.pop('neck_part') | _base_.pop('recipe_part') | dict(cls_head=dict(label_smooth_eps=0.1))
)
