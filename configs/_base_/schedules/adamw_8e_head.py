# A new neck and head on a frozen backbone, the head trained to its end.
_base_ = 'adamw_8e.py'

optim_wrapper = dict(paramwise_cfg=dict(custom_keys=dict(cls_head=dict(lr_mult=10))))
