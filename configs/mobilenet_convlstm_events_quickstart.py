# For events: a ninth class, "none", for pauses. Clips of 16 frames begin anywhere in 24.
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
