# UCF101 as MMAction2 lays it out. --cfg-options split=2 chooses the split.
split = int('{{$CNNLSTM_MM_SPLIT:1}}')
data_root = 'data/ucf101'
data_help = (
    'fix: get UCF101.rar and the split .zip from https://www.crcv.ucf.edu/data/UCF101.php and make '
    'data/ucf101 with python tools/data/prepare_ucf101.py UCF101.rar SPLITS.zip; '
    'without them, try configs/mobilenet_convlstm_quickstart.py.'
)

recipe_part = dict(cls_head=dict(num_classes=101))
train_videos = dict(
    ann_file=f'{data_root}/ucf101_train_split_{split}_videos.txt',
    data_prefix=dict(video=f'{data_root}/videos'),
)
val_videos = dict(
    ann_file=f'{data_root}/ucf101_val_split_{split}_videos.txt',
    data_prefix=dict(video=f'{data_root}/videos'),
)
