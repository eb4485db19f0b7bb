# Second of two trainings: the averaging head is trained, the recurrence begins at zero beside it.
_base_ = 'adamw_8e.py'

optim_wrapper = dict(paramwise_cfg=dict(custom_keys=dict(cls_head=dict(lr_mult=0.1))))
# The mean of the weights over about the last fifty steps is tested and kept.
custom_hooks = [dict(type='EMAHook', momentum=0.02, update_buffers=True)]
