# A flipped clip of 'from left to right' is one of 'from right to left'.
_base_ = [
    '../datasets/sthv2.py',
    '../datasets/video_16.py',
    '../schedules/sgd_50e.py',
    '../default_runtime.py',
]

train_pipeline = [
    dict(t, flip_label_map='from_names') if t['type'] == 'Flip' else t
    for t in _base_.train_pipeline
]
# As MMAction2 tests its TSM: 2 clips x 3 crops of 256x256.
test_pipeline = [
    _base_.test_pipeline[0],
    dict(_base_.test_pipeline[1], num_clips=2),
    _base_.test_pipeline[2],
    dict(type='Resize', scale=(-1, 256)),
    dict(type='ThreeCrop', crop_size=256),
    *_base_.test_pipeline[5:],
]
train_dataloader = dict(dataset=dict(_base_.pop('train_videos'), pipeline=train_pipeline))
val_dataloader = dict(dataset=_base_.val_videos)
test_dataloader = dict(dataset=dict(_base_.pop('val_videos'), pipeline=test_pipeline))
