_base_ = ['../datasets/gestures.py', '../schedules/adamw_5e_small.py', '../default_runtime.py']
