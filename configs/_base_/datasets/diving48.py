# Diving48, version 2 of the labels, as MMAction2 lays it out.
data_root = 'data/diving48'
data_help = (
    'fix: get Diving48 from http://www.svcl.ucsd.edu/projects/resound/dataset.html and make data/diving48 with '
    'python tools/data/prepare_diving48.py VIDEOS ANNOTATIONS.'
)

recipe_part = dict(cls_head=dict(num_classes=48))
train_videos = dict(
    ann_file=f'{data_root}/diving48_train_list_videos.txt',
    data_prefix=dict(video=f'{data_root}/videos'),
)
val_videos = dict(
    ann_file=f'{data_root}/diving48_val_list_videos.txt',
    data_prefix=dict(video=f'{data_root}/videos'),
)
