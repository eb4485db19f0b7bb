# Drawn clips whose captions depend on the order of the frames. Without the two options
# there are 40 scenes of each shape and colour, and the training learns to describe them.
cnnlstm-mm prepare caption-quickstart --train-scenes 1 --heldout-scenes 1
cnnlstm-mm train mobilenet_lstm_caption_quickstart --cfg-options train_cfg.max_epochs=1
CHECKPOINT=$(cat work_dirs/mobilenet_lstm_caption_quickstart/last_checkpoint)
cnnlstm-mm test mobilenet_lstm_caption_quickstart "$CHECKPOINT"
CLIP=$(ls data/caption_quickstart/videos/* | head -n 1)
cnnlstm-mm caption "$CLIP" mobilenet_lstm_caption_quickstart "$CHECKPOINT" --beam 3 --n-best 2
