"""Figures without a display; class names may hold any characters."""

import io
from pathlib import Path

import matplotlib
from matplotlib.figure import Figure

from cnnlstm_mm.storage import atomic_path

__all__ = ['Figure', 'png_bytes', 'save_figure']

matplotlib.rcParams['text.parse_math'] = False  # names may hold two dollar signs


def png_bytes(figure: Figure) -> bytes:
    """A figure as the bytes of a PNG file."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format='png', dpi=110)
    return buffer.getvalue()


def save_figure(figure: Figure, path: str | Path) -> None:
    """Write a figure as PNG, atomically."""
    with atomic_path(path) as temporary:
        temporary.write_bytes(png_bytes(figure))
