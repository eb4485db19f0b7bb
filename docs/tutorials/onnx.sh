# One frame of each stream and its state to scores and the new state; compared with
# PyTorch.
cnnlstm-mm export data/clips/clips.py work_dirs/clips/model.pth --mode step --out step.onnx

# A whole clip to its scores.
cnnlstm-mm export data/clips/clips.py work_dirs/clips/model.pth --mode clip --out clip.onnx
