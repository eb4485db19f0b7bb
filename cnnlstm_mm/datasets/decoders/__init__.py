"""Decoders of video files behind one interface, tried one after the other."""

import importlib.util
import os
from importlib.metadata import PackageNotFoundError, version

from .base import Decoder, InexactError, UnreadableError
from .decord import DecordDecoder, InOrderDecordDecoder
from .opencv import OpenCVDecoder
from .pyav import PyAVDecoder
from .torchcodec import TorchCodecDecoder

__all__ = ['DECODER_VARIABLE', 'Decoder', 'InexactError', 'UnreadableError', 'decoder_classes']

DECODER_VARIABLE = 'CNNLSTM_MM_DECODER'
# Name in a config: module, and classes in the order in which they are tried.
KINDS: dict[str, tuple[str, tuple[type[Decoder], ...]]] = {
    'decord': ('decord', (DecordDecoder,)),
    'decord2': ('decord', (DecordDecoder,)),
    'pyav': ('av', (PyAVDecoder,)),
    'torchcodec': ('torchcodec', (TorchCodecDecoder,)),
    'opencv': ('cv2', (OpenCVDecoder,)),
}


def decoder_classes(decoder: str | None = None) -> list[type[Decoder]]:
    """Decoders for a file, in the order in which they are tried.

    Args:
        decoder: One of 'decord', 'decord2', 'pyav', 'torchcodec' and 'opencv', which is then the
            only one; None for all that are installed. The environment variable
            CNNLSTM_MM_DECODER comes before it.

    Raises:
        ValueError: If the name is unknown.
        ImportError: If the decoder is not installed.
    """
    chosen = os.environ.get(DECODER_VARIABLE) or decoder
    if chosen is None:
        found = [kind for name, (_, kinds) in KINDS.items() if installed(name) for kind in kinds]
        return [*dict.fromkeys(found), *([InOrderDecordDecoder] if installed('decord') else [])]
    if chosen not in KINDS:
        raise ValueError(
            f'expected decoder to be one of {", ".join(KINDS)}, got {chosen!r}; fix: set '
            f'decoder= in the config, or {DECODER_VARIABLE}'
        )
    if not installed(chosen):
        module = dict(pyav='av').get(chosen, chosen)
        raise ImportError(f'decoder={chosen!r} is not installed; fix: pip install {module}')
    return [*KINDS[chosen][1], *([InOrderDecordDecoder] if 'decord' in chosen else [])]


def installed(name: str) -> bool:
    """Whether a decoder is installed; decord2 installs the module decord."""
    try:
        there = importlib.util.find_spec(KINDS[name][0]) is not None
    except ValueError:  # set to None in sys.modules
        there = False
    if name == 'decord2' and there:
        try:
            return bool(version('decord2'))
        except PackageNotFoundError:
            return False
    return there
