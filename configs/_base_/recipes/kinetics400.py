_base_ = [
    '../datasets/kinetics400.py',
    '../datasets/video_32x2.py',
    '../schedules/sgd_100e.py',
    '../default_runtime.py',
]

train_dataloader = dict(dataset=_base_.pop('train_videos'))
val_dataloader = test_dataloader = dict(dataset=_base_.pop('val_videos'))
