_base_ = [
    '../datasets/rwf2000.py',
    '../datasets/video_8.py',
    '../schedules/sgd_50e.py',
    '../default_runtime.py',
]

train_dataloader = dict(dataset=_base_.pop('train_videos'))
val_dataloader = test_dataloader = dict(dataset=_base_.pop('val_videos'))
