# Three classes of clips as a stand-in for yours: clips/CLASS/clip.avi.
cnnlstm-mm prepare quickstart --train-per-class 10 --val-per-class 2
mkdir -p clips
cp -r data/quickstart/videos/RightThenUp data/quickstart/videos/LeftThenUp \
    data/quickstart/videos/UpThenRight clips

# Decodes each clip once, divides them into lists and writes a config. The backbone's weights
# are downloaded; WEIGHTS=FILE names a copy.
cnnlstm-mm prepare folder clips --frames 8 --val 0.25 ${WEIGHTS:+--weights "$WEIGHTS"}

# Trains the neck and the head on features that are computed once.
cnnlstm-mm train data/clips/clips.py --cache-features
cnnlstm-mm test data/clips/clips.py work_dirs/clips/model.pth

# Answers for files without labels.
cnnlstm-mm predict data/clips/clips.py work_dirs/clips/model.pth clips/RightThenUp \
    --topk 2 --csv answers.csv
