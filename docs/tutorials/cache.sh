# The features of the frozen backbone, for two augmented views of each training clip.
cnnlstm-mm extract data/clips/clips.py --out data/features/clips --train-views 2

# Trains the neck and the head on them, as often as you like: here with another rate.
cnnlstm-mm train data/clips/clips.py --features data/features/clips --work-dir work_dirs/cached \
    --cfg-options optim_wrapper.optimizer.lr=5e-4 train_cfg.max_epochs=3
cnnlstm-mm test data/clips/clips.py work_dirs/cached/epoch_3.pth --features data/features/clips

# The whole model, for videos.
cnnlstm-mm merge data/clips/clips.py work_dirs/cached/epoch_3.pth \
    --features data/features/clips --out clips.pth
cnnlstm-mm test data/clips/clips.py clips.pth
