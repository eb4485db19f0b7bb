_base_ = ['../datasets/quickstart_48.py', '../schedules/adamw_4e.py', '../default_runtime.py']
