"""Peers of streaming.py in onnxruntime: float32 and int8."""

import tempfile
from pathlib import Path

import numpy as np

from cnnlstm_mm.export import StepGraph, quantize, save, step_facts, to_onnx
from cnnlstm_mm.streaming import OnnxStreamingRecognizer, StreamingRecognizer


def exported(rec: StreamingRecognizer, threads: int) -> dict[str, OnnxStreamingRecognizer]:
    """Export a recognizer's step, quantize it, and load both for ``threads`` threads, by name."""
    random = np.random.default_rng(0)
    with tempfile.TemporaryDirectory() as folder:
        path, small = (Path(folder) / f'{kind}.onnx' for kind in ('fp32', 'int8'))
        graph = StepGraph(rec, rec.transform.size)
        save(to_onnx(graph), step_facts(rec, graph, [''] * rec.num_classes), path)
        whole = OnnxStreamingRecognizer(path, threads)
        frames = random.integers(0, 256, (4, 240, 320, 3), np.uint8)
        quantize(
            path,
            small,
            [
                dict(whole.init_state().tensors, frames=frame[None])
                for frame in whole.prepare(frames)
            ],
        )
        return {'onnxruntime': whole, 'onnxruntime int8': OnnxStreamingRecognizer(small, threads)}
