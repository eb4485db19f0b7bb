# Something-Something V2 as MMAction2 lays it out; tested with 2 clips x 3 crops of 256x256, as its TSM.
data_root = 'data/sthv2'
data_help = (
    "fix: get Something-Something V2 from Qualcomm's AI datasets page and make data/sthv2 with "
    'python tools/data/prepare_sthv2.py VIDEOS ANNOTATIONS.'
)

recipe_part = dict(cls_head=dict(num_classes=174))
train_videos = dict(
    ann_file=f'{data_root}/sthv2_train_list_videos.txt',
    data_prefix=dict(video=f'{data_root}/videos'),
)
val_videos = dict(
    ann_file=f'{data_root}/sthv2_val_list_videos.txt', data_prefix=dict(video=f'{data_root}/videos')
)
