# The config that "prepare folder" wrote, with another neck.
_base_ = 'data/clips/clips.py'
custom_imports = dict(imports=['cnnlstm_mm', 'my_necks'])
model = dict(
    neck=dict(_delete_=True, type='TutorialNeck', in_channels=1280, hidden_channels=64),
    cls_head=dict(in_channels=64),
)
