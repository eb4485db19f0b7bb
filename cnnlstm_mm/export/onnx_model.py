"""ONNX files with metadata that says how to use them."""

import json
import logging
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import onnx
import torch
from torch._decomp import decompositions

from cnnlstm_mm.streaming import StreamingRecognizer
from cnnlstm_mm.streaming.events import class_number

from .graphs import ClipGraph, StepGraph

Graph = StepGraph | ClipGraph


def to_onnx(graph: Graph, opset: int = 18) -> onnx.ModelProto:
    """Export a graph.

    Inputs are ``frames`` and the tensors of the state by their names, or ``clips``; outputs are
    ``scores``, and ``next.`` + the name of each. The batch, and the views of clips, are dynamic.

    Args:
        graph: the graph.
        opset: ONNX's operator set, at least 18.

    Raises:
        ValueError: if the opset is too old.
        torch.onnx.errors.OnnxExporterError: if ONNX lacks an operation of the model.
    """
    if opset < 18:
        raise ValueError(f'expected opset to be at least 18, got {opset}')
    batch = torch.export.Dim('batch', max=2**20)
    if graph.names:
        inputs = ['frames', *graph.names]
        outputs = ['scores', *(f'next.{name}' for name in graph.names)]
        sizes: Sequence[Any] = ({0: batch}, ({0: batch},) * len(graph.names))
    else:
        inputs, outputs = ['clips'], ['scores']
        sizes = ({0: batch, 1: torch.export.Dim('views', max=2**20)},)
    return convert(graph, sizes, inputs, outputs, opset)


def convert(
    graph: Any, sizes: Sequence[Any], inputs: list[str], outputs: list[str], opset: int
) -> onnx.ModelProto:
    """Export a module on its ``example`` with dynamic ``sizes`` and named tensors."""
    with torch.no_grad(), warnings.catch_warnings(), lstm_traced_with_its_shapes():
        warnings.simplefilter('ignore')
        # It warns of each library whose operators it does not find.
        logging.getLogger('torch.onnx').setLevel(logging.ERROR)
        # Exported here, because torch.onnx silently makes sizes constant that cannot vary.
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


@contextmanager
def lstm_traced_with_its_shapes() -> Iterator[None]:
    """Give the last states of a traced LSTM their shapes in torch 2.7.

    There they have a dimension too many: its decompositions squeeze another.
    """
    names = ('one_layer_lstm', 'mkldnn_one_layer_lstm')
    whole = {name: getattr(decompositions, name) for name in names}

    def with_its_shapes(layer: Callable, *args: Any, **kwargs: Any) -> tuple:
        output, states = layer(*args, **kwargs)
        return output, tuple(state.reshape(state.shape[-2:]) for state in states)

    try:
        for name, layer in whole.items():
            setattr(decompositions, name, partial(with_its_shapes, layer))
        yield
    finally:
        for name, layer in whole.items():
            setattr(decompositions, name, layer)


def save(model: onnx.ModelProto, facts: dict[str, Any], path: str | Path) -> None:
    """Write a model with new metadata.

    Args:
        model: the model.
        facts: values by name, each written as JSON, or as it is if it is a str.
        path: the file.
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
    """Describe how frames, in RGB, are prepared.

    Args:
        steps: of a :class:`FrameTransform`.
        size: height and width of the result.
        values: ``mean``, ``std`` and ``to_rgb``.

    Returns:
        ``steps``, ``size``, ``mean``, ``std``, and the ``channel_order`` that the model takes.
    """
    return dict(
        steps=steps,
        size=list(size),
        mean=values['mean'],
        std=values['std'],
        channel_order='BGR' if values['to_rgb'] else 'RGB',
    )


def step_facts(rec: StreamingRecognizer, graph: StepGraph, labels: list[str]) -> dict[str, Any]:
    """Describe an exported step for its callers.

    Args:
        rec: the recognizer.
        graph: its graph.
        labels: names of the classes.

    Returns:
        Among others ``preprocessing``, and ``state``, for each of its tensors ``input`` and
        ``output``, ``shape`` without the batch, ``dtype`` and ``start``, its value before the
        first frame.
    """
    frames, *tensors = graph.example
    state = []
    for name, tensor in zip(graph.names, tensors):
        dtype = str(tensor.dtype).removeprefix('torch.')
        shape = list(tensor.shape[1:])
        state.append(dict(input=name, output=f'next.{name}', shape=shape, dtype=dtype, start=0))
    none = rec.cfg.get('none_class')
    return dict(
        mode='step',
        labels=labels,
        model_id=rec.model_id,
        state=state,
        frame_interval=rec.frame_interval,
        probabilities=rec.model.probabilities,
        multi_class=rec.model.multi_class,
        none_class=None if none is None else class_number(none, labels),
        preprocessing=preprocessing(rec.transform.steps, frames.shape[2:], rec.normalization),
    )
