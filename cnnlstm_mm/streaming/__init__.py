"""Frame-by-frame recognition with explicit state.

Names are imported at first use: OnnxStreamingRecognizer and what it needs work without PyTorch.
"""

from importlib import import_module
from typing import Any

_HOMES = dict(
    FrameTransform='frames',
    OnnxStreamingRecognizer='onnx_recognizer',
    OnnxStreamState='onnx_state',
    ScoreOverlay='overlay',
    SourceError='source',
    StepModel='step_model',
    StreamingRecognizer='recognizer',
    StreamState='state',
    VideoSource='source',
    read_labels='.config',
)

__all__ = list(_HOMES)


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f'module {__name__!r} has no {name!r}')
    return getattr(import_module(f'.{_HOMES[name]}', __name__), name)
