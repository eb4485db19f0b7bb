# The last output of the LSTM, as the ConvLSTM recipes take the last state.
_base_ = 'lstm.py'

neck_part = dict(neck=dict(temporal_pool='last'))
