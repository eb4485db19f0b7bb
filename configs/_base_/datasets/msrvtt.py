# MSR-VTT as cnnlstm-mm prepare msrvtt lays it out. An epoch draws a caption of each clip 20 times, about
# as many as there are.
_base_ = 'captioned_video_28.py'

data_root = 'data/msrvtt'
data_help = (
    'fix: make data/msrvtt with cnnlstm-mm prepare msrvtt VIDEOS videodatainfo.json; '
    'without the clips, try configs/mobilenet_lstm_caption_quickstart.py.'
)

recipe_part = dict(cls_head=dict(vocabulary=f'{data_root}/vocabulary.json'))
__videos = dict(video=f'{data_root}/videos')
train_dataloader = dict(
    dataset=dict(
        times=20, dataset=dict(ann_file=f'{data_root}/captions_train.jsonl', data_prefix=__videos)
    )
)
val_dataloader = dict(
    dataset=dict(ann_file=f'{data_root}/captions_val.jsonl', data_prefix=__videos)
)
test_dataloader = dict(
    dataset=dict(ann_file=f'{data_root}/captions_test.jsonl', data_prefix=__videos)
)
