_base_ = [
    '../datasets/caption_quickstart.py',
    '../schedules/adamw_captions.py',
    '../default_runtime.py',
]

default_hooks = dict(checkpoint=dict(save_best='caption/CIDEr-D', rule='greater'))
