_base_ = 'mobilenetv2_avgpool_ucf101_mini10.py'

model = dict(
    neck=dict(
        type='ConvLSTMNeck',
        in_channels=1280,
        hidden_channels=128,
        kernel_size=3,
        padding='same',
        return_mode='mean'),
    cls_head=dict(in_channels=128))
