"""Frame-by-frame recognition with explicit state.

Names are imported at first use: OnnxStreamingRecognizer and what it needs work without PyTorch.
"""

from importlib import import_module
from typing import Any

_HOMES = dict(
    ActivityGate='activity',
    CaptionState='caption_state',
    Event='events',
    EventDetector='events',
    EventLog='event_log',
    Frame='source',
    FrameTransform='frames',
    OnnxStreamingCaptioner='onnx_captioner',
    OnnxStreamingRecognizer='onnx_recognizer',
    OnnxStreamState='onnx_state',
    ScoreOverlay='overlay',
    SourceError='captures',
    SourceGroup='source_group',
    StepModel='step_model',
    StreamBatch='source_group',
    StreamingCaptioner='captioner',
    StreamingRecognizer='recognizer',
    StreamState='state',
    VideoOut='video_out',
    VideoSource='source',
    Webhook='event_outputs',
    find_events='events',
    mask_password='captures',
    read_labels='.config',
    write_line='event_outputs',
)

__all__ = list(_HOMES)


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f'module {__name__!r} has no {name!r}')
    return getattr(import_module(f'.{_HOMES[name]}', __name__), name)
