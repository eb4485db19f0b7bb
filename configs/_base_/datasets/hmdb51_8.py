_base_ = ['./hmdb51.py', './video_8.py']

test_pipeline = {{_base_.test_pipeline_8}}
train_dataloader = dict(dataset=dict(pipeline={{_base_.train_pipeline_8}}))
val_dataloader = dict(dataset=dict(pipeline={{_base_.val_pipeline_8}}))
test_dataloader = dict(dataset=dict(pipeline={{_base_.test_pipeline_8}}))
