# Jester's videos as MMAction2 lays them out. Frame folders: see data_help.
data_root = 'data/jester'
data_help = (
    "fix: get Jester from Qualcomm's AI datasets page and make data/jester with "
    'python tools/data/prepare_jester.py CLIPS ANNOTATIONS.'
)

recipe_part = dict(cls_head=dict(num_classes=27))
train_videos = dict(
    ann_file=f'{data_root}/jester_train_list_videos.txt',
    data_prefix=dict(video=f'{data_root}/videos'),
)
val_videos = dict(
    ann_file=f'{data_root}/jester_val_list_videos.txt',
    data_prefix=dict(video=f'{data_root}/videos'),
)
