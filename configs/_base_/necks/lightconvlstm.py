# Depthwise, then 1x1, in place of the gates' full convolutions.
_base_ = 'convlstm.py'

neck_part = dict(neck=dict(gate_conv='depthwise'))
