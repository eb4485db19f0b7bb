"""Arrays of Keras's layers as weights of our modules."""

import numpy as np
import torch
from torch import Tensor

from cnnlstm_mm.models.backbones import MobileNetV1

from .graph import SUPPORTED
from .reader import MOBILENET_LAYERS

Arrays = dict[str, list[np.ndarray]]
Weights = dict[str, Tensor]

# A layer's class by the dimensions of its arrays but the bias.
RANKS = {
    (4, 4): 'ConvLSTM2D',
    (4, 4, 4, 4): 'Bidirectional ConvLSTM2D',
    (2, 2): 'LSTM',
    (2, 2, 2, 2): 'Bidirectional LSTM',
    (2,): 'Dense',
}


def mobilenet_weights(arrays: Arrays) -> tuple[Weights, dict]:
    """Weights and config of the MobileNetV1 in a file.

    Raises:
        ValueError: if a layer is missing or of another shape; all such are named.
    """
    missing = [name for name in MOBILENET_LAYERS if name not in arrays]
    if missing:
        raise ValueError(f'these layers of a MobileNet v1 are missing: {missing}. {SUPPORTED}')
    config = dict(type='MobileNetV1', widen_factor=arrays['conv_pw_13'][0].shape[-1] / 1024)
    with torch.device('meta'):
        wanted = MobileNetV1(config['widen_factor'], init_cfg=None).state_dict()
    weights, wrong = {}, []
    for name in MOBILENET_LAYERS:
        for key, weight in _rename(name, arrays[name]).items():
            shape = list(wanted[key].shape) if key in wanted else 'no array'
            if list(weight.shape) != shape:
                wrong.append(f'{name} has {list(weight.shape)} for {key}, which takes {shape}')
            weights[key] = weight
    wrong += [f'nothing for {key}' for key in wanted if key not in weights]
    if wrong:
        raise ValueError(
            f'expected the layers of a MobileNet v1 of width {config["widen_factor"]:g}, got: '
            f'{"; ".join(wrong)}. {SUPPORTED}'
        )
    return weights, config


def _rename(name: str, arrays: list[np.ndarray]) -> Weights:
    """Rename one layer's arrays, conv_dw_5_bn -> layer5.depthwise_conv.bn.weight."""
    layer, *block = name.removesuffix('_bn').rsplit('_', 1)
    if block:
        part = dict(conv_dw='depthwise_conv', conv_pw='pointwise_conv')[layer]
        layer = f'layer{block[0]}.{part}'
    if name.endswith('_bn'):
        keys = ('weight', 'bias', 'running_mean', 'running_var')
        weights = dict(zip(keys, map(_tensor, arrays)))
        weights['num_batches_tracked'] = torch.tensor(0)
        return {f'{layer}.bn.{key}': w for key, w in weights.items()}
    weights = dict(zip(('weight', 'bias'), map(_tensor, arrays)))
    if weights['weight'].dim() == 4:
        # [kh, kw, in, out] or depthwise [kh, kw, C, 1] -> [out, in, kh, kw]
        order = (2, 3, 0, 1) if 'depthwise' in layer else (3, 2, 0, 1)
        weights['weight'] = weights['weight'].permute(order).contiguous()
    return {f'{layer}.conv.{key}': w for key, w in weights.items()}


def conv_lstm_weights(
    arrays: list[np.ndarray], layer: int, bidirectional: bool, bias: bool = True
) -> Weights:
    """Layer ``layer`` of a ConvLSTM, with zeros for biases that the file lacks if ``bias``."""
    weights = {}
    for suffix, (kernel, recurrent, *biases) in _directions(arrays, layer, bidirectional):
        # [kh, kw, in, 4*hidden] -> [4*hidden, in, kh, kw], gates i, f, g, o in both
        weights[f'weight_ih{suffix}'] = _tensor(kernel).permute(3, 2, 0, 1).contiguous()
        weights[f'weight_hh{suffix}'] = _tensor(recurrent).permute(3, 2, 0, 1).contiguous()
        if bias:
            weights[f'bias{suffix}'] = _bias(biases, kernel.shape[-1])
    return weights


def lstm_weights(arrays: list[np.ndarray], layer: int, bidirectional: bool, plain: bool) -> Weights:
    """Layer ``layer`` of an nn.LSTM if ``plain``, else of a ConvLSTM with 1x1 kernels."""
    if not plain:
        wide = [a[None, None] if a.ndim == 2 else a for a in arrays]
        return conv_lstm_weights(wide, layer, bidirectional)
    weights = {}
    for suffix, (kernel, recurrent, *biases) in _directions(arrays, layer, bidirectional):
        # [in, 4*hidden] -> [4*hidden, in], gates i, f, g, o in both
        weights[f'weight_ih{suffix}'] = _tensor(kernel).T.contiguous()
        weights[f'weight_hh{suffix}'] = _tensor(recurrent).T.contiguous()
        # Keras's LSTM has one bias, nn.LSTM two
        weights[f'bias_ih{suffix}'] = _bias(biases, kernel.shape[-1])
        weights[f'bias_hh{suffix}'] = torch.zeros(kernel.shape[-1])
    return weights


def dense_weights(key: str, arrays: list[np.ndarray]) -> Weights:
    """An nn.Linear."""
    weight = _tensor(arrays[0]).T.contiguous()  # [in, out] -> [out, in]
    return {f'{key}.weight': weight, f'{key}.bias': _bias(arrays[1:], len(weight))}


def check_inputs(name: str, arrays: list[np.ndarray], inputs: int) -> None:
    """Raise ValueError unless a layer takes so many inputs."""
    if arrays[0].shape[-2] != inputs:
        raise ValueError(
            f'{name} takes {arrays[0].shape[-2]} inputs, expected {inputs} as the layer before it '
            f'gives. {SUPPORTED}'
        )


def kind_of(arrays: list[np.ndarray]) -> str | None:
    """A layer's class by its arrays, whatever its name; None for another one than ``RANKS`` has."""
    kind = RANKS.get(tuple(a.ndim for a in arrays if a.ndim > 1))
    if kind in (None, 'Dense'):
        return kind
    hidden = arrays[1].shape[-2]
    return None if any(a.shape[-1] != 4 * hidden for a in arrays) else kind


def _directions(
    arrays: list[np.ndarray], layer: int, bidirectional: bool
) -> list[tuple[str, list[np.ndarray]]]:
    half = len(arrays) // 2
    if not bidirectional:
        return [(f'_l{layer}', arrays)]
    return [(f'_l{layer}', arrays[:half]), (f'_l{layer}_reverse', arrays[half:])]


def _bias(biases: list[np.ndarray], size: int) -> Tensor:
    return _tensor(biases[0]) if biases else torch.zeros(size)


def _tensor(array: np.ndarray) -> Tensor:
    return torch.from_numpy(np.asarray(array, np.float32))
