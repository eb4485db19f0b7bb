# For events: a ninth class, "none", learnt from pauses around the clips, which then begin anywhere
# in 24 frames. It goes on from the weights of the stream config, which has learnt directions:
#     python tools/train.py configs/mobilenet_convlstm_stream_quickstart.py
#     python tools/train.py configs/mobilenet_convlstm_events_quickstart.py --cfg-options \
#         load_from=work_dirs/mobilenet_convlstm_stream_quickstart/epoch_5.pth
_base_ = 'mobilenet_convlstm_stream_quickstart.py'

none_class = 8
model = dict(
    neck=dict(tbptt_len=None, carry_prob=0),
    cls_head=dict(
        num_classes=none_class + 1, loss_weighting='uniform', clip_len=None, step_labels=True
    ),
)
train_pipeline = [
    *_base_.train_pipeline[:-2],
    dict(type='AddPauses', none_class=none_class, length=24),
    *_base_.train_pipeline[-2:],
]
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
train_cfg = dict(max_epochs=10)
param_scheduler = [
    dict(type='CosineAnnealingLR', begin=0, end=10, eta_min=1e-5, convert_to_iter_based=True)
]
optim_wrapper = dict(optimizer=dict(lr=1e-3))
