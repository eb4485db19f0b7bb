"""Small step models as ONNX files, and exports that are done once."""

import contextlib

import onnx
import pytest
import torch
from helpers.stream_models import OPTIONS, build, config
from mmengine.registry import init_default_scope

from cnnlstm_mm.commands import export
from cnnlstm_mm.export import StepGraph, save, step_facts, to_onnx
from cnnlstm_mm.streaming import OnnxStreamingRecognizer, StreamingRecognizer

LABELS = ['run', 'jump', 'sit', 'wave', 'fall']


def exported(option, path, backbone=None):
    """PyTorch's and onnxruntime's recognizer with the same weights."""
    init_default_scope('mmaction')  # a fixture of a module comes first
    torch.manual_seed(0)
    cfg = config(*OPTIONS[option], backbone)
    rec = StreamingRecognizer.from_model(build(cfg), cfg)
    graph = StepGraph(rec, (32, 32))
    save(to_onnx(graph), step_facts(rec, graph, LABELS), path)
    return rec, OnnxStreamingRecognizer(path, threads=1)


@contextlib.contextmanager
def converted_once():
    """The tool converts a step and a clip of one model once, and takes them again after that."""
    models, convert = {}, export.to_onnx

    def once(graph, *args):
        if type(graph) not in models:
            models[type(graph)] = convert(graph, *args)
        return onnx.ModelProto.FromString(models[type(graph)].SerializeToString())

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(export, 'to_onnx', once)
        yield
