"""Video data set that survives broken videos and names them."""

from collections.abc import Sequence
from typing import Any

from cnnlstm_mm.options import check_number
from mmaction.datasets import VideoDataset
from mmaction.registry import DATASETS

from .annotation_list import load_files
from .clip_index import open_clips
from .decoder_guard import note_reading, run_with_timeout
from .path_decord_init import read_by_path
from .replacing import BrokenSampleError, ReplacingMixin


class CheckedReading(ReplacingMixin):
    """Reading of one sample, in which every failure before the frames are decoded is a broken one.

    A later failure is an error of the pipeline and is raised.
    """

    pipeline: Any
    decode_timeout: float | None

    def set_decode_timeout(self, decode_timeout: float | None) -> None:
        """Set the seconds for decoding one sample; ValueError for others than positive numbers."""
        if decode_timeout is not None:
            check_number(0, decode_timeout=decode_timeout)
        self.decode_timeout = decode_timeout

    def read(self, idx: int) -> Any:
        """Run the pipeline on one video.

        Raises:
            BrokenSampleError: If the video cannot be read.
        """
        results = self.get_data_info(idx)
        name = results['filename']
        note_reading(name)
        try:
            results, left = run_with_timeout(self.decode_timeout, self._decode, results)
        except (ImportError, MemoryError):
            raise
        except Exception as error:
            reason = str(error).strip().splitlines()
            raise BrokenSampleError(
                name, f'{type(error).__name__}: {reason[-1] if reason else ""}'
            ) from error
        finally:
            note_reading('')
        for transform in left:
            if results is None:
                return None
            results = transform(results)
        if results is not None and 'data_samples' in results:
            # Whatever meta_keys PackActionInputs has, a batch can be named.
            results['data_samples'].set_metainfo(dict(filename=name))
        return results

    def _decode(self, results: dict) -> tuple[dict | None, list[Any]]:
        """The results with frames, and the transforms that are left."""
        left = list(self.pipeline.transforms)
        while left and results is not None and 'imgs' not in results:
            results = left.pop(0)(results)
        if results is not None and any(image is None for image in results.get('imgs', ())):
            raise ValueError('a frame cannot be decoded')  # as mmcv says of a broken image
        return results, left


@DATASETS.register_module()
class CheckedVideoDataset(CheckedReading, VideoDataset):
    """VideoDataset with a checked list, in which broken videos end no run.

    A video that cannot be opened, has no frames or ends early is replaced in training and named
    in testing, see :class:`ReplacingMixin` and :class:`BrokenVideoHook`. Every failure before
    the frames are decoded counts as a broken video; a later one is an error of the pipeline and
    is raised. Local files are read by :class:`PathDecordInit` and :class:`VideoReader`. For a
    decoder that ends its process see :func:`name_dead_decoders`.

    Args:
        ann_file: See :func:`read_list`.
        pipeline: As upstream.
        decode_timeout: Seconds for the transforms up to the decoded frames of one video, after
            which it counts as broken; None for no limit.
        decoder: The only decoder to use; None for the first that can read a video, see
            :func:`decoder_classes`.
        label_file: Class names, one per line, for a list whose labels are names; by default
            ``metainfo['classes']``, or ``label_map.txt`` beside the list.
        **kwargs: As upstream's VideoDataset.

    Raises:
        ValueError: If the list is empty or a line cannot be read.
        FileNotFoundError: If a video of the list is missing.
    """

    def __init__(
        self,
        ann_file: str,
        pipeline: list[Any],
        decode_timeout: float | None = 120.0,
        decoder: str | None = None,
        label_file: str | None = None,
        **kwargs: Any,
    ) -> None:
        self.set_decode_timeout(decode_timeout)
        self.label_file = label_file
        super().__init__(ann_file, read_by_path(pipeline, decoder), **kwargs)

    def load_data_list(self) -> Sequence[dict]:
        """``filename`` and ``label`` of each video, from the checked index or from the list.

        The index that ``cnnlstm-mm prepare`` write beside the list is read row by row, so
        that a million clips take neither time nor memory.
        """
        root = self.data_prefix['video']
        clips = None if self.multi_class else open_clips(self.ann_file, root)
        if clips is not None:
            self.serialize_data = False
            return clips
        names = self.label_file or self.metainfo.get('classes')
        return load_files(self.ann_file, root, self.delimiter, self.multi_class, names)
