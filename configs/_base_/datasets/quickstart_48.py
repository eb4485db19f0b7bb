# The same clips and frames, 48x48; a batch is one scene in all its orders.
_base_ = 'quickstart.py'

__resize = dict(type='Resize', scale=(48, 48), keep_ratio=False)
train_pipeline = [*_base_.train_pipeline[:3], __resize, *_base_.train_pipeline[4:]]
val_pipeline = [*_base_.val_pipeline[:3], __resize, *_base_.val_pipeline[4:]]
test_pipeline = val_pipeline

train_dataloader = dict(batch_size=8, num_workers=1, dataset=dict(pipeline=train_pipeline))
val_dataloader = dict(num_workers=1, dataset=dict(pipeline=val_pipeline))
test_dataloader = val_dataloader
