"""From a graph to an ONNX file that says how it is used."""

import json
import logging
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Union

import onnx
import torch

from cnnlstm_mm.streaming import StreamingRecognizer

from .graphs import ClipGraph, StepGraph

Graph = Union[StepGraph, ClipGraph]


def to_onnx(graph: Graph, opset: int = 18) -> onnx.ModelProto:
    """Export a graph.

    Inputs are ``frames`` and the parts of the state by their names, or
    ``clips``; outputs ``scores`` and ``next.`` + the name of each part. The
    batch, and the views of clips, can be of any size.

    Args:
        graph (StepGraph or ClipGraph): The graph.
        opset (int): ONNX's operator set, at least 18. Defaults to 18.

    Returns:
        ModelProto: The model.

    Raises:
        ValueError: If the opset is too old.
        torch.onnx.errors.OnnxExporterError: If the model has operations that
            ONNX lacks.
    """
    if opset < 18:
        raise ValueError(f'opset must be at least 18, got {opset}')
    batch = torch.export.Dim('batch')
    if graph.names:
        inputs = ['frames', *graph.names]
        outputs = ['scores', *(f'next.{name}' for name in graph.names)]
        sizes: Sequence[Any] = ({0: batch}, ({0: batch},) * len(graph.names))
    else:
        inputs, outputs = ['clips'], ['scores']
        sizes = ({0: batch, 1: torch.export.Dim('views')},)
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter('ignore')
        # It names each library that it finds no operators of.
        logging.getLogger('torch.onnx').setLevel(logging.ERROR)
        # Exported here rather than by torch.onnx, which makes sizes constant
        # where they cannot vary instead of saying so.
        program = torch.export.export(graph, graph.example, dynamic_shapes=sizes, strict=False)
        done = torch.onnx.export(
            program,
            (),
            input_names=inputs,
            output_names=outputs,
            opset_version=opset,
            dynamo=True,
            verbose=False,
        )
    return done.model_proto


def save(model: onnx.ModelProto, facts: dict[str, Any], path: str | Path) -> None:
    """Write a model with its facts as metadata, each as JSON.

    Args:
        model (ModelProto): The model; its metadata is replaced.
        facts (dict): Plain values by name; a str is written as it is.
        path (str or Path): The file.
    """
    del model.metadata_props[:]
    onnx.helper.set_model_props(
        model,
        {
            name: value if isinstance(value, str) else json.dumps(value)
            for name, value in facts.items()
        },
    )
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    onnx.save(model, str(path))


def preprocessing(steps: list[dict], size: Sequence[int], values: dict[str, Any]) -> dict[str, Any]:
    """How frames are prepared.

    Args:
        steps (list[dict]): Of a :class:`FrameTransform`.
        size (Sequence[int]): Height and width of the result.
        values (dict): ``mean``, ``std`` and ``to_rgb``.

    Returns:
        dict: ``steps``, ``size``, ``mean``, ``std``, and ``channel_order``,
        that of the model; the frames are RGB.
    """
    return dict(
        steps=steps,
        size=list(size),
        mean=values['mean'],
        std=values['std'],
        channel_order='BGR' if values['to_rgb'] else 'RGB',
    )


def step_facts(rec: StreamingRecognizer, graph: StepGraph, labels: list[str]) -> dict[str, Any]:
    """What a caller must know of an exported step.

    Args:
        rec (StreamingRecognizer): The recognizer.
        graph (StepGraph): Its graph.
        labels (list[str]): The classes.

    Returns:
        dict: Among others ``preprocessing``, and ``state``: of each part
        ``input``, ``output``, ``shape`` without the batch, ``dtype`` and
        ``start``, the value that a stream begins with.
    """
    frames, *parts = graph.example
    state = [
        dict(
            input=name,
            output=f'next.{name}',
            shape=list(tensor.shape[1:]),
            dtype=str(tensor.dtype).replace('torch.', ''),
            start=0,
        )
        for name, tensor in zip(graph.names, parts)
    ]
    return dict(
        mode='step',
        labels=labels,
        model_id=rec.model_id,
        state=state,
        frame_interval=rec.frame_interval,
        probabilities=rec.model.probabilities,
        preprocessing=preprocessing(rec.transform.steps, frames.shape[2:], rec.normalization),
    )
