# Clips of a hand that points, drawn while they are read: the ten gestures of EgoGestAR, in its
# order of labels. 16 frames of 64x48; no file is needed.
data_root = 'data/gestures'
data_help = 'fix: nothing is read, not even below data/gestures: the clips are drawn.'

recipe_part = dict(cls_head=dict(num_classes=10, dropout_ratio=0))
__classes = ['caret', 'circle', 'delete', 'down', 'left', 'right', 'square', 'star', 'tick', 'up']
__clips = dict(type='DrawnGestureDataset', classes=__classes, frames=16, size=(48, 64))

train_pipeline = [dict(type='FormatShape', input_format='NCTHW'), dict(type='PackActionInputs')]
val_pipeline = [
    dict(type='FormatShape', input_format='NCTHW'),
    dict(type='PackActionInputs', meta_keys=('img_shape', 'filename')),
]
test_pipeline = val_pipeline

train_dataloader = dict(
    batch_size=16,
    num_workers=1,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=False),  # the classes take turns
    dataset=dict(__clips, length=1600, pipeline=train_pipeline),
)
val_dataloader = dict(
    batch_size=16,
    num_workers=1,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(__clips, length=200, pipeline=val_pipeline, test_mode=True),
)
test_dataloader = val_dataloader

val_evaluator = dict(type='AccMetric')
test_evaluator = val_evaluator
