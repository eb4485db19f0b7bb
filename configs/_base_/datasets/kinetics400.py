_base_ = './video_32x2.py'

# Kinetics-400 as MMAction2 lays it out.
data_root = 'data/kinetics400'
data_help = (
    'Kinetics-400 is at https://github.com/cvdfoundation/kinetics-dataset: '
    'make data/kinetics400 with python tools/data/prepare_kinetics.py train '
    'VIDEOS train.csv --data kinetics400, and the same for val.'
)

train_dataloader = dict(
    dataset=dict(
        ann_file=f'{data_root}/kinetics400_train_list_videos.txt',
        data_prefix=dict(video=f'{data_root}/videos_train'),
    )
)
val_dataloader = dict(
    dataset=dict(
        ann_file=f'{data_root}/kinetics400_val_list_videos.txt',
        data_prefix=dict(video=f'{data_root}/videos_val'),
    )
)
test_dataloader = val_dataloader
