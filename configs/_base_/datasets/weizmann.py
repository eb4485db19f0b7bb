# Weizmann, or any small data set: one video and its label per line.
# --cfg-options split=2 chooses the split.
split = int('{{$CNNLSTM_MM_SPLIT:1}}')
data_root = 'data/weizmann'
data_help = (
    'fix: write data/weizmann/weizmann_{train,val}_split_1_videos.txt, each line a path under '
    'data/weizmann/videos and a label from 0, with no person in both lists: Weizmann has no '
    'official split. Any small set works the same, with model.cls_head.num_classes set to the '
    'number of its classes.'
)

recipe_part = dict(cls_head=dict(num_classes=10))
train_videos = dict(
    ann_file=f'{data_root}/weizmann_train_split_{split}_videos.txt',
    data_prefix=dict(video=f'{data_root}/videos'),
)
val_videos = dict(
    ann_file=f'{data_root}/weizmann_val_split_{split}_videos.txt',
    data_prefix=dict(video=f'{data_root}/videos'),
)
