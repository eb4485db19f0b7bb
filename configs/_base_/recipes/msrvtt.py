_base_ = ['../datasets/msrvtt.py', '../schedules/adam_captions.py', '../default_runtime.py']

default_hooks = dict(checkpoint=dict(save_best='caption/CIDEr-D', rule='greater'))
