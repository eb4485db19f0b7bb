# 16 frames spread over the whole video; tested with 3 crops of one clip.
_base_ = 'video_8.py'

__frames = 16
train_pipeline = [
    _base_.train_pipeline[0],
    dict(type='UniformSample', clip_len=__frames),
    *_base_.train_pipeline[2:],
]
__test_frames = dict(type='UniformSample', clip_len=__frames, test_mode=True)
val_pipeline = [_base_.val_pipeline[0], __test_frames, *_base_.val_pipeline[2:]]
test_pipeline = [_base_.test_pipeline[0], __test_frames, *_base_.test_pipeline[2:]]

train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
val_dataloader = dict(dataset=dict(pipeline=val_pipeline))
test_dataloader = dict(dataset=dict(pipeline=test_pipeline))
