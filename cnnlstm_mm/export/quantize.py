"""Quantization to int8 with onnxruntime."""

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
# Operators that stay in int8 between convolutions, so that nothing is converted twice.
OPERATORS = ('Conv', 'Clip', 'Relu', 'Add', 'MaxPool', 'Pad')


class _Reader(CalibrationDataReader):
    def __init__(self, feeds: Iterable[Feed]) -> None:
        self.feeds: Iterator[Feed] = iter(feeds)

    def get_next(self) -> Feed | None:
        return next(self.feeds, None)


def quantize(source: str | Path, out: str | Path, feeds: Iterable[Feed]) -> int:
    """Write a model whose backbone computes in int8.

    Weights are int8 per channel, activations uint8 with the range of the feeds. Neck and head stay
    in float32: rounding in a recurrence adds up over the steps.

    Args:
        source: the float32 model.
        out: the file to write.
        feeds: inputs for calibration.

    Returns:
        The number of quantized convolutions.

    Raises:
        ValueError: if the backbone has no convolution.
    """
    model = onnx.load(str(source))
    nodes = backbone_nodes(model)
    convs = sum(node.op_type == 'Conv' for node in nodes)
    if not convs:
        raise ValueError(
            f'expected a backbone with convolutions, got {source}; fix: export without --int8'
        )
    # It advises preprocessing that the exporter has done.
    logging.getLogger().addFilter(_no_advice)
    try:
        quantize_static(
            str(source),
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
    """Return the nodes of ``OPERATORS`` in the module ``backbone``."""
    return [
        node
        for node in model.graph.node
        if node.op_type in OPERATORS
        and any(
            entry.key == 'pkg.torch.onnx.name_scopes' and 'backbone.backbone' in entry.value
            for entry in node.metadata_props
        )
    ]


def _no_advice(record: logging.LogRecord) -> bool:
    return 'pre-processing' not in record.getMessage()
