# Three classes of clips as a stand-in for yours: clips/CLASS/clip.avi.
cnnlstm-mm prepare quickstart --train-per-class 6 --val-per-class 2
mkdir -p clips
cp -r data/quickstart/videos/RightThenUp data/quickstart/videos/RightThenDown \
    data/quickstart/videos/UpThenRight clips

# Decodes each clip once, divides them into lists and writes a config.
cnnlstm-mm prepare folder clips --frames 8 --val 0.25

# Downloads the backbone's weights, and trains the neck and the head on features that
# are computed once.
cnnlstm-mm train data/clips/clips.py --cache-features
cnnlstm-mm test data/clips/clips.py work_dirs/clips/model.pth

# Answers for files without labels.
cnnlstm-mm predict data/clips/clips.py work_dirs/clips/model.pth clips/RightThenUp \
    --topk 2 --csv answers.csv
