# For streams: an answer at every frame. A video is two clips of 8 frames; most
# go on with the state of the first, the others learn to begin in the middle.
_base_ = 'mobilenet_convlstm_quickstart.py'

model = dict(
    neck=dict(return_mode='sequence', tbptt_len=8, carry_prob=0.75),
    cls_head=dict(type='PerStepHead', loss_weighting='linear'))
