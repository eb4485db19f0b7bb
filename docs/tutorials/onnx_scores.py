"""Scores without PyTorch: NumPy, OpenCV and onnxruntime."""

from pathlib import Path

import cv2

from cnnlstm_mm.streaming import OnnxStreamingRecognizer

rec = OnnxStreamingRecognizer('step.onnx')
capture = cv2.VideoCapture(str(min(Path('clips/RightThenUp').iterdir())))
state = None
while True:
    found, frame = capture.read()
    if not found:
        break
    scores, state = rec.step([cv2.cvtColor(frame, cv2.COLOR_BGR2RGB)], state)
print(rec.labels[scores[0].argmax()], scores[0].max())
