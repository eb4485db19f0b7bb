_base_ = [
    '../datasets/ucf101_mini10_112.py',
    '../schedules/adamw_3e_finetune.py',
    '../default_runtime.py',
]
