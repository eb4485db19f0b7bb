# Depthwise, then 1x1, in the place of the gates' full convolutions.
_base_ = './mobilenet_lstm.py'

model = dict(
    neck=dict(
        _delete_=True,
        type='ConvLSTMNeck',
        in_channels=1024,
        hidden_channels=256,
        kernel_size=3,
        gate_conv='depthwise',
        return_mode='last',
    )
)
