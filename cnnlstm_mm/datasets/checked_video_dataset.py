"""MMAction2's video data set that survives broken videos and names them."""
from typing import Any, List

from mmaction.datasets import VideoDataset
from mmaction.registry import DATASETS

from .annotation_list import load_files
from .replacing import BrokenSampleError, ReplacingMixin


@DATASETS.register_module()
class CheckedVideoDataset(ReplacingMixin, VideoDataset):
    """VideoDataset with a checked list, in which broken videos kill no run.

    A video that cannot be opened, has no frames or ends early is replaced in
    training and named in testing, see :class:`ReplacingMixin` and
    :class:`BrokenVideoHook`. All that fails before the frames are decoded
    counts as a broken video; what fails after that is an error of the
    pipeline and is raised.

    ``DecordInit`` in the pipeline becomes :class:`PathDecordInit` for local
    files.

    Args:
        ann_file (str): See :func:`read_list`.
        pipeline (list[dict]): As upstream.
        **kwargs: As upstream's VideoDataset.

    Raises:
        ValueError: If the list is empty or a line cannot be read.
        FileNotFoundError: If a video of the list is not there.
    """

    def __init__(self, ann_file: str, pipeline: List[Any],
                 **kwargs: Any) -> None:
        super().__init__(ann_file, list(map(_by_path, pipeline)), **kwargs)

    def load_data_list(self) -> List[dict]:
        """Read and check the list.

        Returns:
            list[dict]: ``filename`` and ``label`` of each video.
        """
        return load_files(self.ann_file, self.data_prefix['video'],
                          self.delimiter, self.multi_class)

    def read(self, idx: int) -> Any:
        """Run the pipeline on one video.

        Args:
            idx (int): The video.

        Returns:
            dict: What the pipeline gives.

        Raises:
            BrokenSampleError: If the video cannot be read.
        """
        results = self.get_data_info(idx)
        name = results['filename']
        for transform in self.pipeline.transforms:
            if 'imgs' in results:
                results = transform(results)
            else:
                try:
                    results = transform(results)
                except (ImportError, MemoryError):
                    raise
                except Exception as error:
                    reason = str(error).strip().splitlines()
                    raise BrokenSampleError(
                        name, f'{type(error).__name__}: '
                        f'{reason[-1] if reason else ""}') from error
            if results is None:
                return None
        if 'data_samples' in results:
            # Whatever meta_keys PackActionInputs has, a batch can be named.
            results['data_samples'].set_metainfo(dict(filename=name))
        return results


def _by_path(transform: Any) -> Any:
    if not isinstance(transform, dict) or \
            transform.get('type') != 'DecordInit' or \
            transform.get('io_backend', 'disk') != 'disk':
        return transform
    return dict(type='PathDecordInit',
                num_threads=transform.get('num_threads', 1))
