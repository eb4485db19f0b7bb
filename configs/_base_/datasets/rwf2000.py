# RWF-2000: fights in the videos of surveillance cameras.
data_root = 'data/rwf2000'
data_help = (
    'fix: ask the authors of RWF-2000 for the videos and make data/rwf2000 with '
    'python tools/data/prepare_rwf2000.py VIDEOS.'
)

recipe_part = dict(cls_head=dict(num_classes=2))
train_videos = dict(
    ann_file=f'{data_root}/rwf2000_train_list_videos.txt',
    data_prefix=dict(video=f'{data_root}/videos'),
)
val_videos = dict(
    ann_file=f'{data_root}/rwf2000_val_list_videos.txt',
    data_prefix=dict(video=f'{data_root}/videos'),
)
