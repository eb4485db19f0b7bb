# The same clips, 16 frames of 224x224.
_base_ = 'ucf101_mini10.py'

train_pipeline = [
    _base_.train_pipeline[0],
    dict(type='UniformSample', clip_len=16),
    *_base_.train_pipeline[2:],
]
val_pipeline = [
    _base_.val_pipeline[0],
    dict(type='UniformSample', clip_len=16, test_mode=True),
    *_base_.val_pipeline[2:],
]
test_pipeline = val_pipeline

train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
val_dataloader = dict(dataset=dict(pipeline=val_pipeline))
test_dataloader = val_dataloader
