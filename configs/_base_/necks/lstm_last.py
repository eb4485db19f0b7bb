# The last output of the LSTM, as the seed takes the last state of its ConvLSTM.
_base_ = 'lstm.py'

neck_part = dict(neck=dict(temporal_pool='last'))
