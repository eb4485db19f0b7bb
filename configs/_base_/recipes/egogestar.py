_base_ = ['../datasets/egogestar.py', '../schedules/adamw_10e_finetune.py', '../default_runtime.py']
