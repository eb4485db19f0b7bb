"""Export of recognizers to ONNX."""

from .graphs import ClipGraph, StepGraph
from .onnx_model import preprocessing, save, step_facts, to_onnx
from .parity import check_clip, check_step
from .quantize import quantize
from .samples import ListSamples, clip_views, made_video, read_frames

__all__ = [
    'ClipGraph',
    'ListSamples',
    'StepGraph',
    'check_clip',
    'check_step',
    'clip_views',
    'made_video',
    'preprocessing',
    'quantize',
    'read_frames',
    'save',
    'step_facts',
    'to_onnx',
]
