"""Convolutions as one call of oneDNN, for running without gradients."""

import torch
from mmcv.cnn import ConvModule
from mmcv.cnn.bricks.wrappers import Conv2d
from torch import Tensor, nn

from cnnlstm_mm.layers.dispatch import can_prepack

PLAIN = (nn.Conv2d, Conv2d)  # what computes a convolution and no more
# oneDNN's names of the activations that it applies within a convolution.
FUSED = {nn.ReLU6: ('hardtanh', [0.0, 6.0]), nn.ReLU: ('relu', [])}


class PackedConv(nn.Module):
    """A convolution whose weight is in oneDNN's layout once and for all.

    Otherwise the weight is rearranged at every call, which for one frame
    costs a good part of the work; and the activation takes a pass over the
    output of its own. It computes in the dtype of the weight.

    Args:
        conv (nn.Conv2d): The convolution.
        shape (tuple[int]): Of the input to come, [N, C, H, W].
        activation (nn.Module, optional): Of ``FUSED``, applied as well.
    """

    def __init__(
        self, conv: nn.Conv2d, shape: tuple[int, ...], activation: nn.Module | None = None
    ) -> None:
        super().__init__()
        self.geometry = (list(conv.padding), list(conv.stride), list(conv.dilation), conv.groups)
        self.weight = torch._C._nn.mkldnn_reorder_conv2d_weight(
            conv.weight.detach().to_mkldnn(), *self.geometry, list(shape)
        )
        self.dtype = conv.weight.dtype
        self.bias = None if conv.bias is None else conv.bias.detach()
        self.fused = FUSED.get(type(activation), ('none', []))

    def forward(self, x: Tensor) -> Tensor:
        """[N, C, H, W] to [N, C', H', W']."""
        return torch.ops.mkldnn._convolution_pointwise(
            x.to(self.dtype), self.weight, self.bias, *self.geometry, *self.fused, ''
        )


def pack(module: nn.Module, frames: Tensor) -> bool:
    """Pack the convolutions of a backbone, with the activations behind them.

    Args:
        module (nn.Module): In evaluation mode, its batch norm folded. Changed
            in place.
        frames (Tensor): What it runs on here, to see the convolutions' inputs;
            others may have another size.

    Returns:
        bool: False if oneDNN cannot take all of them; nothing is changed then.
    """
    convs = [m for m in module.modules() if type(m) in PLAIN]
    if not all(can_prepack(conv.weight) for conv in convs):
        return False
    _pack(module, _input_shapes(module, frames))
    return True


def _pack(module: nn.Module, shapes: dict[nn.Module, tuple[int, ...]]) -> None:
    for name, child in list(module.named_children()):
        if child in shapes:
            activation = None
            if (
                isinstance(module, ConvModule)
                and module.order == ('conv', 'norm', 'act')
                and module.with_activation
            ):
                if type(module.activate) in FUSED:
                    activation = module.activate
                    module.activate = nn.Identity()
            setattr(module, name, PackedConv(child, shapes[child], activation))
        else:
            _pack(child, shapes)


def _input_shapes(module: nn.Module, frame: Tensor) -> dict[nn.Module, tuple[int, ...]]:
    """The shape that each convolution gets; only those that can be packed."""
    shapes: dict[nn.Module, tuple[int, ...]] = {}
    hooks: list = []
    for conv in module.modules():
        if (
            type(conv) in PLAIN
            and conv.padding_mode == 'zeros'
            and (not isinstance(conv.padding, str))
        ):
            hooks.append(
                conv.register_forward_pre_hook(lambda m, x: shapes.update({m: tuple(x[0].shape)}))
            )
    module(frame)
    for hook in hooks:
        hook.remove()
    return shapes
