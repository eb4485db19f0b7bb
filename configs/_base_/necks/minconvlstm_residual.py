# The mean over time, and what the recurrence adds to it, at first nothing.
_base_ = 'minconvlstm_reduced.py'

neck_part = dict(neck=dict(residual=True), cls_head=dict(in_channels=1280))
