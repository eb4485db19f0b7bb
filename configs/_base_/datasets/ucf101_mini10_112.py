# The same clips and frames, 112x112 of 171x128 pixels.
_base_ = 'ucf101_mini10.py'

__resize = dict(type='Resize', scale=(-1, 128))
__random_crop = dict(type='RandomCrop', size=112)
__center_crop = dict(type='CenterCrop', crop_size=112)
train_pipeline = [*_base_.train_pipeline[:3], __resize, __random_crop, *_base_.train_pipeline[4:]]
val_pipeline = [*_base_.val_pipeline[:3], __resize, __center_crop, *_base_.val_pipeline[4:]]
test_pipeline = val_pipeline

train_dataloader = dict(batch_size=4, num_workers=1, dataset=dict(pipeline=train_pipeline))
val_dataloader = dict(batch_size=8, num_workers=1, dataset=dict(pipeline=val_pipeline))
test_dataloader = val_dataloader
