_base_ = './video_32x2.py'

# HMDB51 as MMAction2 lays it out. --cfg-options split=2 chooses the split.
split = int('{{$CNNLSTM_MM_SPLIT:1}}')
data_root = 'data/hmdb51'
data_help = (
    'HMDB51 is at https://serre-lab.clps.brown.edu/resource/hmdb-a-large-'
    'human-motion-database: get hmdb51_org.rar and test_train_splits.rar, '
    'then make data/hmdb51 with python tools/data/prepare_hmdb51.py '
    'hmdb51_org.rar test_train_splits.rar.'
)

train_dataloader = dict(
    dataset=dict(
        ann_file=f'{data_root}/hmdb51_train_split_{split}_videos.txt',
        data_prefix=dict(video=f'{data_root}/videos'),
    )
)
val_dataloader = dict(
    dataset=dict(
        ann_file=f'{data_root}/hmdb51_val_split_{split}_videos.txt',
        data_prefix=dict(video=f'{data_root}/videos'),
    )
)
test_dataloader = val_dataloader
