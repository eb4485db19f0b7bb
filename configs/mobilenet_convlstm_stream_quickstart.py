# For streams: an answer at every frame. A video is two clips of 8 frames; most
# go on with the state of the first, the others learn to begin in the middle.
_base_ = 'mobilenet_convlstm_quickstart.py'

clip_len = 8
model = dict(
    neck=dict(return_mode='sequence', tbptt_len=clip_len, carry_prob=0.75),
    # A clip that starts from zero must not weigh more than the first: it would
    # teach the model to take the beginning of a video for its second half.
    cls_head=dict(type='PerStepHead', loss_weighting='linear', clip_len=clip_len),
)
