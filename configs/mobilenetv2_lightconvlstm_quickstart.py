# Depthwise, then 1x1 in place of the gates' full convolutions.
_base_ = 'mobilenetv2_convlstm_quickstart.py'

model = dict(neck=dict(gate_conv='depthwise'))
