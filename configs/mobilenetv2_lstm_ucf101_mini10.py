_base_ = 'mobilenetv2_avgpool_ucf101_mini10.py'

model = dict(
    neck=dict(type='LSTMPoolingNeck', in_channels=1280, hidden_channels=256, temporal_pool='mean'),
    cls_head=dict(in_channels=256),
)
# At the full rate the neck learns the 240 clips by heart.
optim_wrapper = dict(paramwise_cfg=dict(custom_keys=dict(neck=dict(lr_mult=0.3))))
