_base_ = ['../datasets/msvd.py', '../schedules/adam_captions.py', '../default_runtime.py']

default_hooks = dict(checkpoint=dict(save_best='caption/CIDEr-D', rule='greater'))
train_cfg = dict(max_epochs=50)
optim_wrapper = dict(optimizer=dict(lr=5e-5))
