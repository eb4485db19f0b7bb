_base_ = 'convlstm_small.py'

neck_part = dict(neck=dict(type='MinConvLSTMNeck', num_layers=2, kernel_size=5))
