"""Scores after every frame of two streams, which begin and end at different times."""

import pickle
from pathlib import Path

import cv2

from cnnlstm_mm.streaming import StreamingRecognizer, StreamState


def frames(path):
    """The frames of a file or a camera, uint8 RGB [H, W, 3]."""
    capture = cv2.VideoCapture(path)
    while True:
        found, frame = capture.read()
        if not found:
            return
        yield cv2.cvtColor(frame, cv2.COLOR_BGR2RGB)


def clip(name):
    """The frames of the first clip of a class."""
    return list(frames(str(min(Path('clips', name).iterdir()))))


rec = StreamingRecognizer('data/clips/clips.py', 'work_dirs/clips/model.pth')
first, second = clip('RightThenUp'), clip('RightThenDown')

# One stream; each step costs one frame, however long the stream has run.
state = None
for frame in first[:5]:
    scores, state = rec.step([frame], state)  # [1, classes]

# A second one joins: states are explicit, one row a stream.
state = StreamState.cat([state, rec.init_state(1)])
for one, other in zip(first[5:10], second):
    scores, state = rec.step([one, other], state)  # [2, classes]

# The first one leaves; the other is stored and goes on later, or elsewhere.
stored = pickle.dumps(state.select([1]))
scores, state = rec.step([second[5]], pickle.loads(stored))

# Its scores are those of an uninterrupted stream of the same frames.
expected = None
for frame in second[:6]:
    wanted, expected = rec.step([frame], expected)
assert abs(scores - wanted).max() < 1e-5
print('best class:', scores[0].argmax().item())
