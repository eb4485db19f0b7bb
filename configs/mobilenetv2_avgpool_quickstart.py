# No order: the head averages over frames.
_base_ = [
    '_base_/models/mobilenetv2_quickstart.py',
    '_base_/datasets/quickstart_48.py',
    '_base_/schedules/adamw_4e.py',
    '_base_/default_runtime.py',
]
