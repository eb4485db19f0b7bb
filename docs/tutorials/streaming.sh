# Scores of every frame that the model reads, here of every second one, as JSON lines,
# and the video with its scores drawn on it.
CLIP=$(ls clips/RightThenUp/* | head -n 1)
cnnlstm-mm stream "$CLIP" data/clips/clips.py work_dirs/clips/model.pth \
    --json scores.jsonl --out scored.mp4
