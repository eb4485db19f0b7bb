_base_ = ['../datasets/ucf101_mini10.py', '../schedules/adamw_8e.py', '../default_runtime.py']

recipe_part = dict(backbone=dict(frozen=True))
