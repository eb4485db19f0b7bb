# Kinetics-400 as MMAction2 lays it out.
data_root = 'data/kinetics400'
data_help = (
    'fix: get Kinetics-400 from https://github.com/cvdfoundation/kinetics-dataset and make '
    'data/kinetics400 with python tools/data/prepare_kinetics.py train VIDEOS train.csv '
    '--data kinetics400, and the same for val.'
)

recipe_part = dict(cls_head=dict(num_classes=400))
train_videos = dict(
    ann_file=f'{data_root}/kinetics400_train_list_videos.txt',
    data_prefix=dict(video=f'{data_root}/videos_train'),
)
val_videos = dict(
    ann_file=f'{data_root}/kinetics400_val_list_videos.txt',
    data_prefix=dict(video=f'{data_root}/videos_val'),
)
