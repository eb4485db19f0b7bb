# 8 frames spread over the whole video instead of 32; tested with 3 crops of one clip.
_base_ = 'video_32x2.py'

__train_frames = dict(type='UniformSample', clip_len=8)
__test_frames = dict(__train_frames, test_mode=True)
train_pipeline = [_base_.train_pipeline[0], __train_frames, *_base_.train_pipeline[2:]]
val_pipeline = [_base_.val_pipeline[0], __test_frames, *_base_.val_pipeline[2:]]
test_pipeline = [_base_.test_pipeline[0], __test_frames, *_base_.test_pipeline[2:]]

train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
val_dataloader = dict(dataset=dict(pipeline=val_pipeline))
test_dataloader = dict(dataset=dict(pipeline=test_pipeline))
