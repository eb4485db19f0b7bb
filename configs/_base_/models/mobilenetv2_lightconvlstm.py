# Depthwise, then 1x1, in the place of the gates' full convolutions.
_base_ = './mobilenetv2_convlstm.py'

model = dict(neck=dict(gate_conv='depthwise'))
