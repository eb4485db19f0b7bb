_base_ = 'convlstm_small.py'

neck_part = dict(neck=dict(gate_conv='depthwise', kernel_size=5))
