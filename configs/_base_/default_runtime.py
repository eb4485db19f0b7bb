# Importing cnnlstm_mm registers its modules and mends MMAction2 1.2.0.
custom_imports = dict(imports=['cnnlstm_mm'], allow_failed_imports=False)
default_scope = 'mmaction'

default_hooks = dict(
    runtime_info=dict(type='RuntimeInfoHook'),
    timer=dict(type='IterTimerHook'),
    logger=dict(type='LoggerHook', interval=20, ignore_last=False),
    param_scheduler=dict(type='ParamSchedulerHook'),
    checkpoint=dict(type='VerifiedCheckpointHook', interval=1, max_keep_ckpts=3, save_best='auto'),
    sampler_seed=dict(type='DistSamplerSeedHook'),
    sync_buffers=dict(type='SyncBuffersHook'),
    broken_videos=dict(type='BrokenVideoHook', max_broken_share=0.05),
    finite_loss=dict(type='FiniteLossHook', action='stop'),
    whole_checkpoint=dict(type='WholeCheckpointHook'),
    visualization=dict(type='ClipVisualizationHook', enable=False),
)

env_cfg = dict(
    cudnn_benchmark=False,
    mp_cfg=dict(mp_start_method='fork', opencv_num_threads=0),
    dist_cfg=dict(backend='nccl'),
)

log_processor = dict(type='LogProcessor', window_size=20, by_epoch=True)

vis_backends = [dict(type='LocalVisBackend')]
visualizer = dict(type='TopKVisualizer', vis_backends=vis_backends)

log_level = 'INFO'
load_from = None
resume = False
