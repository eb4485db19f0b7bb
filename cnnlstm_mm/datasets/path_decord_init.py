"""Videos opened by their path."""

import os.path as osp
from collections.abc import Sequence
from typing import Any

from mmengine.config import Config
from mmengine.dataset import Compose

from cnnlstm_mm.config import nested_dicts, type_name
from cnnlstm_mm.options import check_int, check_number
from mmaction.apis import inference
from mmaction.apis.inferencers import actionrecog_inferencer
from mmaction.datasets.transforms import DecordInit
from mmaction.registry import TRANSFORMS

from .decoders import decoder_classes
from .video_reader import VideoReader

INITS = ('PathDecordInit', 'DecordInit', 'OpenCVInit', 'PyAVInit', 'PIMSInit')
DECODES = ('OpenCVDecode', 'PyAVDecode', 'PIMSDecode')


@TRANSFORMS.register_module()
class PathDecordInit(DecordInit):
    """DecordInit for local files, read by :class:`VideoReader`; for DecordDecode.

    Upstream hands decord the bytes of the file; decord 0.6.0 then ends the process
    (segmentation fault) on an .avi that was cut short, and with it the training. Opened by its
    path the same file can be read.

    Args:
        num_threads: Of the decoder.
        min_share: Least share of the promised frames that a file must hold.
        decoder: See :func:`decoder_classes`; None for the first that can read a file.

    Raises:
        ImportError: If ``decoder`` is not installed.
        ValueError: If the name of ``decoder`` is unknown; in the transform, if the file has no
            frames or too few.
    """

    def __init__(
        self, num_threads: int = 1, min_share: float = 0.9, decoder: str | None = None
    ) -> None:
        check_int(0, num_threads=num_threads)
        check_number(0, 1, min_share=min_share)
        decoder_classes(decoder)
        super().__init__(io_backend='disk', num_threads=num_threads)
        self.min_share = min_share
        self.decoder = decoder

    def transform(self, results: dict) -> dict:
        """As upstream; a clip of a checked index has as many frames as were decoded then."""
        results = super().transform(results)
        frames = results.get('indexed_frames') or results['total_frames']
        results['total_frames'] = min(frames, results['total_frames'])
        return results

    def _get_video_reader(self, filename: str) -> VideoReader:
        if osp.splitext(filename)[0] == filename:
            filename += '.mp4'  # as upstream
        return VideoReader(filename, self.num_threads, self.min_share, self.decoder)


def read_by_path(pipeline: Sequence[Any], decoder: str | None = None) -> list[Any]:
    """Configs of a pipeline whose video transforms read local files by :class:`VideoReader`.

    Args:
        pipeline: With MMAction2's DecordInit, OpenCVInit, PyAVInit or PIMSInit and the matching
            decode transform; other pipelines, and files that are not local, stay as they are.
        decoder: See :func:`decoder_classes`.
    """
    inits = [t for t in pipeline if _is(t, *INITS)]
    if not inits or inits[0].get('io_backend', 'disk') != 'disk':
        return list(pipeline)
    kept = {key: inits[0][key] for key in ('min_share', 'decoder') if key in inits[0]}
    options = dict(num_threads=inits[0].get('num_threads', 1), **kept)
    if decoder is not None:
        options['decoder'] = decoder
    done = [
        dict(type='PathDecordInit', **options) if transform in inits else transform
        for transform in pipeline
    ]
    return [dict(type='DecordDecode') if _is(t, *DECODES) else t for t in done]


def apply_path_readers(cfg: Config) -> None:
    """Let data sets of MMAction2 in a config read local videos by :func:`read_by_path`.

    Those of this package do so themselves, and their configs stay as they are.
    """
    for node in nested_dicts(cfg._cfg_dict):
        if node.get('pipeline') and not type_name(node).startswith('Checked'):
            node['pipeline'] = read_by_path(node['pipeline'])


class PathCompose(Compose):
    """The pipeline of MMAction2's inferencers and inference_recognizer, by :func:`read_by_path`."""

    def __init__(self, transforms: Sequence[Any] | None) -> None:
        super().__init__(read_by_path(transforms or ()))


for _module in (inference, actionrecog_inferencer):
    _module.Compose = PathCompose


def _is(transform: Any, *kinds: str) -> bool:
    return isinstance(transform, dict) and type_name(transform) in kinds
