"""What the custom operators share: geometries as lists of ints, the missing second derivative."""

from __future__ import annotations

from collections.abc import Sequence

from .geometry import Geometry


def as_geometry(*sizes: Sequence[int]) -> Geometry:
    """The ``Geometry`` of pads, stride and dilation, which operators get as lists."""
    return Geometry(*(tuple(size) for size in sizes))


def refuse(ctx, *_):
    """The backward of a backward.

    Raises:
        RuntimeError: always; with the cure.
    """
    raise RuntimeError(
        'the fused operators of ConvLSTM and MinConvLSTM have no second derivative; fix: build '
        'the layer with fused=False'
    )
