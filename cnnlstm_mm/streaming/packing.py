"""A backbone made ready for single frames on a CPU."""
import copy
from typing import Dict, List, Optional, Tuple

import torch
from mmcv.cnn import ConvModule, fuse_conv_bn
from mmcv.cnn.bricks.wrappers import Conv2d
from torch import Tensor, nn

from cnnlstm_mm.layers.convolution import can_prepack
from cnnlstm_mm.models.backbones import TimeDistributed

PLAIN = (nn.Conv2d, Conv2d)  # what computes a convolution and no more
# oneDNN's names of the activations that it applies within a convolution.
FUSED = {nn.ReLU6: ('hardtanh', [0., 6.]), nn.ReLU: ('relu', [])}


class PackedConv(nn.Module):
    """A convolution whose weight is in oneDNN's layout once and for all.

    Otherwise the weight is rearranged at every call, which for one frame
    costs a good part of the work.

    Args:
        conv (nn.Conv2d): The convolution.
        shape (tuple[int]): Of the input to come, [N, C, H, W].
        activation (nn.Module, optional): Of ``FUSED``, applied as well.
    """

    def __init__(self, conv: nn.Conv2d, shape: Tuple[int, ...],
                 activation: Optional[nn.Module] = None) -> None:
        super().__init__()
        self.geometry = (list(conv.padding), list(conv.stride),
                         list(conv.dilation), conv.groups)
        self.weight = torch._C._nn.mkldnn_reorder_conv2d_weight(
            conv.weight.detach().to_mkldnn(), *self.geometry, list(shape))
        self.bias = None if conv.bias is None else conv.bias.detach()
        self.fused = FUSED.get(type(activation), ('none', []))

    def forward(self, x: Tensor) -> Tensor:
        """[N, C, H, W] to [N, C', H', W']."""
        return torch.ops.mkldnn._convolution_pointwise(
            x, self.weight, self.bias, *self.geometry, *self.fused, '')


def pack_backbone(backbone: TimeDistributed, size: Tuple[int, int],
                  tolerance: float = 1e-3) -> TimeDistributed:
    """Fold batch norms and activations and pack the weights, for one frame.

    Args:
        backbone (TimeDistributed): In evaluation mode, float32, on the CPU.
            It is left as it is.
        size (tuple[int]): Height and width of the frames.
        tolerance (float): The largest difference between the features,
            relative to their largest value. Defaults to 1e-3.

    Returns:
        TimeDistributed: A copy that computes the same, or ``backbone`` itself
        where oneDNN is missing or the copy would compute something else.
    """
    convs = [m for m in backbone.modules() if type(m) in PLAIN]
    if not all(can_prepack(conv.weight) for conv in convs):
        return backbone
    frame = torch.randn(1, 3, 1, *size)
    want = _tensors(backbone(frame))
    packed = copy.deepcopy(backbone)
    packed.backbone = fuse_conv_bn(packed.backbone)
    _pack(packed, _input_shapes(packed, frame))
    for one, other in zip(want, _tensors(packed(frame))):
        if not (one - other).abs().max() <= tolerance * one.abs().max():
            return backbone
    return packed


def _pack(module: nn.Module, shapes: Dict[nn.Module, Tuple[int, ...]]) -> None:
    for name, child in list(module.named_children()):
        if child in shapes:
            activation = None
            if isinstance(module, ConvModule) and module.order == (
                    'conv', 'norm', 'act') and module.with_activation:
                if type(module.activate) in FUSED:
                    activation = module.activate
                    module.activate = nn.Identity()
            setattr(module, name, PackedConv(child, shapes[child], activation))
        else:
            _pack(child, shapes)


def _input_shapes(module: nn.Module,
                  frame: Tensor) -> Dict[nn.Module, Tuple[int, ...]]:
    """The shape that each convolution gets; only those that can be packed."""
    shapes: Dict[nn.Module, Tuple[int, ...]] = {}
    hooks: List = []
    for conv in module.modules():
        if type(conv) in PLAIN and conv.padding_mode == 'zeros' and (
                not isinstance(conv.padding, str)):
            hooks.append(conv.register_forward_pre_hook(
                lambda m, x: shapes.update({m: tuple(x[0].shape)})))
    module(frame)
    for hook in hooks:
        hook.remove()
    return shapes


def _tensors(features) -> Tuple[Tensor, ...]:
    return features if isinstance(features, tuple) else (features, )
