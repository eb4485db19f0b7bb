# my_necks.py and my_config.py lie in this folder.
export PYTHONPATH=$PWD:${PYTHONPATH:-}
cnnlstm-mm train my_config.py --cache-features --cfg-options train_cfg.max_epochs=3
cnnlstm-mm test my_config.py work_dirs/my_config/model.pth

# A stream and an ONNX file take no line of code more.
CLIP=$(ls clips/RightThenUp/* | head -n 1)
cnnlstm-mm stream "$CLIP" my_config.py work_dirs/my_config/model.pth --json my_scores.jsonl
