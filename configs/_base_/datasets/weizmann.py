_base_ = './video_32x2.py'

# Weizmann, and any small set of one's own: a video and its label a line.
# --cfg-options split=2 chooses the split.
split = int('{{$CNNLSTM_MM_SPLIT:1}}')
data_root = 'data/weizmann'
data_help = (
    'Weizmann has no official split. Write the lists '
    'data/weizmann/weizmann_{train,val}_split_1_videos.txt, a path under '
    'data/weizmann/videos and a label from 0 in each line, with no person in '
    'both. Any small set works the same, with model.cls_head.num_classes set '
    'to its classes.'
)

train_dataloader = dict(
    dataset=dict(
        ann_file=f'{data_root}/weizmann_train_split_{split}_videos.txt',
        data_prefix=dict(video=f'{data_root}/videos'),
    )
)
val_dataloader = dict(
    dataset=dict(
        ann_file=f'{data_root}/weizmann_val_split_{split}_videos.txt',
        data_prefix=dict(video=f'{data_root}/videos'),
    )
)
test_dataloader = val_dataloader
