# Clips of one's own, few of them: a frozen backbone, and 16 frames as far apart as a stream takes
# them. `cnnlstm-mm prepare folder` adds lists, classes and the interval.
_base_ = ['datasets/video_32x2.py', 'schedules/adamw_8e.py', 'default_runtime.py']

recipe_part = dict(backbone=dict(frozen=True), cls_head=dict(num_classes=1))

__sample = dict(
    type='SampleFrames', clip_len=16, frame_interval=1, num_clips=1, out_of_bound_opt='repeat_last'
)
train_pipeline = [_base_.train_pipeline[0], __sample, *_base_.train_pipeline[2:]]
val_pipeline = [_base_.val_pipeline[0], dict(__sample, test_mode=True), *_base_.val_pipeline[2:]]
test_pipeline = val_pipeline

train_dataloader = dict(num_workers=2, dataset=dict(pipeline=train_pipeline))
val_dataloader = dict(num_workers=2, dataset=dict(pipeline=val_pipeline))
test_dataloader = val_dataloader
