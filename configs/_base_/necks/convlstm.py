# ConvLSTM, last state.
neck_part = dict(
    neck=dict(
        type='ConvLSTMNeck', hidden_channels=256, kernel_size=3, padding='same', return_mode='last'
    ),
    cls_head=dict(in_channels=256),
)
