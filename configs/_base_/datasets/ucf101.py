_base_ = './video_32x2.py'

# UCF101 as MMAction2 lays it out. --cfg-options split=2 chooses the split.
split = int('{{$CNNLSTM_MM_SPLIT:1}}')
data_root = 'data/ucf101'
data_help = (
    'UCF101 is at https://www.crcv.ucf.edu/data/UCF101.php: get UCF101.rar '
    'and the split .zip, then make data/ucf101 with python '
    'tools/data/prepare_ucf101.py UCF101.rar SPLITS.zip. '
    'Without it, try configs/mobilenet_convlstm_quickstart.py.'
)

train_dataloader = dict(
    dataset=dict(
        ann_file=f'{data_root}/ucf101_train_split_{split}_videos.txt',
        data_prefix=dict(video=f'{data_root}/videos'),
    )
)
val_dataloader = dict(
    dataset=dict(
        ann_file=f'{data_root}/ucf101_val_split_{split}_videos.txt',
        data_prefix=dict(video=f'{data_root}/videos'),
    )
)
test_dataloader = val_dataloader
