# SA-LSTM's: AMSGrad, batches of 200 captions, the gradient cut at 5, the rate halved where CIDEr-D
# stops rising; the best epoch is kept.
train_cfg = dict(type='EpochBasedTrainLoop', max_epochs=30)
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')
param_scheduler = [
    dict(
        type='ReduceOnPlateauLR',
        begin=20,
        monitor='caption/CIDEr-D',
        rule='greater',
        factor=0.5,
        patience=5,
    )
]
optim_wrapper = dict(
    type='OptimWrapper',
    optimizer=dict(type='Adam', lr=2e-4, weight_decay=1e-5, amsgrad=True),
    clip_grad=dict(max_norm=5, norm_type=2),
)
auto_scale_lr = dict(enable=False, base_batch_size=200)
