_base_ = 'convlstm_reduced.py'

neck_part = dict(neck=dict(gate_conv='depthwise'))
