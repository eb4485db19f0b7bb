# HMDB51 as MMAction2 lays it out. --cfg-options split=2 chooses the split.
split = int('{{$CNNLSTM_MM_SPLIT:1}}')
data_root = 'data/hmdb51'
data_help = (
    'fix: get hmdb51_org.rar and test_train_splits.rar from https://serre-lab.clps.brown.edu/'
    'resource/hmdb-a-large-human-motion-database and make data/hmdb51 with '
    'python tools/data/prepare_hmdb51.py hmdb51_org.rar test_train_splits.rar.'
)

recipe_part = dict(cls_head=dict(num_classes=51))
train_videos = dict(
    ann_file=f'{data_root}/hmdb51_train_split_{split}_videos.txt',
    data_prefix=dict(video=f'{data_root}/videos'),
)
val_videos = dict(
    ann_file=f'{data_root}/hmdb51_val_split_{split}_videos.txt',
    data_prefix=dict(video=f'{data_root}/videos'),
)
