_base_ = ['../datasets/quickstart.py', '../schedules/adamw_5e.py', '../default_runtime.py']
