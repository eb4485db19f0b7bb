# It sees the difference of each frame to the one before: what stands still is gone.
_base_ = 'mobilenet_025.py'

model = dict(backbone=dict(motion='difference'))
