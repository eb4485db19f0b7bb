_base_ = './video_32x2.py'

# Kinetics-400 as MMAction2 lays it out.
data_root = 'data/kinetics400'
data_help = (
    'Kinetics-400 is at https://github.com/cvdfoundation/kinetics-dataset: '
    'unpack it to data/kinetics400/videos_{train,val}/Class/*.mp4 and write '
    'the lists data/kinetics400/kinetics400_{train,val}_list_videos.txt with '
    'lines such as "abseiling/0347ZoDXyP0_000095_000105.mp4 0" (README, '
    '"Training on Kinetics-400").')

train_dataloader = dict(
    dataset=dict(
        ann_file=f'{data_root}/kinetics400_train_list_videos.txt',
        data_prefix=dict(video=f'{data_root}/videos_train')))
val_dataloader = dict(
    dataset=dict(
        ann_file=f'{data_root}/kinetics400_val_list_videos.txt',
        data_prefix=dict(video=f'{data_root}/videos_val')))
test_dataloader = val_dataloader
