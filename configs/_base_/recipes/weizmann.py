_base_ = [
    '../datasets/weizmann.py',
    '../datasets/video_8.py',
    '../schedules/adamw_8e.py',
    '../default_runtime.py',
]

recipe_part = dict(backbone=dict(frozen=True))
train_dataloader = dict(dataset=_base_.pop('train_videos'))
val_dataloader = test_dataloader = dict(dataset=_base_.pop('val_videos'))
