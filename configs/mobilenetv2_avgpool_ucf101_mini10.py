_base_ = [
    '_base_/models/mobilenetv2_mini10.py',
    '_base_/datasets/ucf101_mini10_112.py',
    '_base_/schedules/adamw_3e_finetune.py',
    '_base_/default_runtime.py',
]
