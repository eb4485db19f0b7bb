"""int8 models by onnxruntime's static quantization."""

import logging
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import onnx
from onnxruntime.quantization import (
    CalibrationDataReader,
    CalibrationMethod,
    QuantFormat,
    QuantType,
    quantize_static,
)

Feed = dict[str, np.ndarray]
# What stays int8 between convolutions, so that it is not converted twice.
OPERATORS = ('Conv', 'Clip', 'Relu', 'Add', 'MaxPool', 'Pad')


class _Reader(CalibrationDataReader):
    def __init__(self, feeds: Iterable[Feed]) -> None:
        self.feeds: Iterator[Feed] = iter(feeds)

    def get_next(self) -> Feed | None:
        return next(self.feeds, None)


def quantize(source: str | Path, out: str | Path, feeds: Iterable[Feed]) -> int:
    """Write a model whose backbone computes in int8.

    Weights are int8 for each channel, activations uint8 with the range that
    the feeds showed. The neck and the head stay float32: rounding in a
    recurrence adds up over the steps.

    Args:
        source (str or Path): The float32 model.
        out (str or Path): The file to write.
        feeds (Iterable[dict]): Inputs to find the ranges with.

    Returns:
        int: How many convolutions were quantized.

    Raises:
        ValueError: If the backbone has no convolution.
    """
    model = onnx.load(str(source))
    nodes = backbone_nodes(model)
    convs = sum(node.op_type == 'Conv' for node in nodes)
    if not convs:
        raise ValueError(
            f'the backbone of {source} has no convolution to quantize: export it without --int8.'
        )
    # It advises a preparation that the exporter has done.
    logging.getLogger().addFilter(_no_advice)
    try:
        quantize_static(
            model,
            str(out),
            _Reader(feeds),
            quant_format=QuantFormat.QDQ,
            per_channel=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            nodes_to_quantize=[node.name for node in nodes],
            op_types_to_quantize=list(OPERATORS),
            calibrate_method=CalibrationMethod.MinMax,
        )
    finally:
        logging.getLogger().removeFilter(_no_advice)
    done = onnx.load(str(out))
    del done.metadata_props[:]
    done.metadata_props.extend(model.metadata_props)
    onnx.save(done, str(out))
    return convs


def backbone_nodes(model: onnx.ModelProto) -> list[onnx.NodeProto]:
    """The nodes of ``OPERATORS`` that come from the module ``backbone``."""

    def scopes(node: onnx.NodeProto) -> str:
        return next(
            (
                entry.value
                for entry in node.metadata_props
                if entry.key == 'pkg.torch.onnx.name_scopes'
            ),
            '',
        )

    return [
        node
        for node in model.graph.node
        if node.op_type in OPERATORS and 'backbone.backbone' in scopes(node)
    ]


def _no_advice(record: logging.LogRecord) -> bool:
    return 'pre-processing' not in record.getMessage()
