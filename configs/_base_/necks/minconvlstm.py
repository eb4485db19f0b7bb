# Gates of the input alone: one convolution for all frames, and a scan over time.
_base_ = 'convlstm.py'

neck_part = dict(neck=dict(type='MinConvLSTMNeck'))
