"""Conversion to float16, and what it costs."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
from onnxruntime.transformers.float16 import DEFAULT_OP_BLOCK_LIST, convert_float_to_float16

from cnnlstm_mm.streaming import OnnxStreamingRecognizer


def to_half(source: str | Path, out: str | Path) -> None:
    """Write a model that computes in float16; inputs, outputs and states stay float32.

    Args:
        source: the float32 model.
        out: the file to write.
    """
    # It leaves the float32 value of a ConstantOfShape as it is, and calls its output float16.
    kept = [*DEFAULT_OP_BLOCK_LIST, 'ConstantOfShape']
    model = convert_float_to_float16(onnx.load(str(source)), keep_io_types=True, op_block_list=kept)
    onnx.save(model, str(out))


def step_cost(
    full: OnnxStreamingRecognizer, half: OnnxStreamingRecognizer, frames: Sequence[np.ndarray]
) -> dict[str, float]:
    """Run a video through two step models, each with its own state.

    Args:
        full: in float32.
        half: in float16.
        frames: the video, each frame RGB uint8 [H, W, 3].

    Returns:
        Largest absolute differences over all steps: of ``scores``, and of ``states``.
    """
    states, cost = [None, None], dict(scores=0.0, states=0.0)
    for frame in frames:
        pairs = []
        for k, rec in enumerate((full, half)):
            scores, states[k] = rec.step([frame], states[k])
            pairs.append(dict(states[k].tensors, scores=scores))
        for name, want in pairs[0].items():
            key = name if name == 'scores' else 'states'
            cost[key] = max(cost[key], float(abs(want - pairs[1][name]).max()))
    return cost
