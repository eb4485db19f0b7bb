# From scratch, in minutes, on clips that are drawn anew in each epoch.
_base_ = 'adamw_5e.py'

optim_wrapper = dict(paramwise_cfg=dict(custom_keys=dict(cls_head=dict(lr_mult=3))))
