"""Videos opened by their path, with their length checked."""

import os.path as osp
from typing import Any

import cv2

from cnnlstm_mm.options import check_int, check_number
from mmaction.datasets.transforms import DecordInit
from mmaction.registry import TRANSFORMS

# Containers that write the number of frames down.
COUNTED = ('.avi', '.mp4', '.m4v', '.mov')


@TRANSFORMS.register_module()
class PathDecordInit(DecordInit):
    """DecordInit for files on this machine.

    Upstream hands decord the bytes of the file; decord 0.6.0 then ends the
    process (segmentation fault) on an .avi that was cut short, and with it
    the training. Opened by its path the same file can be read.

    A few frames fewer than the header says are usual (UCF101 has such clips);
    decord repeats the last frame in their place.

    Args:
        num_threads (int): Threads of decord. Defaults to 1.
        min_share (float): The least share of the header's frames that a file
            must hold. Defaults to 0.9.

    Raises:
        ValueError: In the transform, if the file has no frames or fewer than
            ``min_share`` of those in its header.
    """

    def __init__(self, num_threads: int = 1, min_share: float = 0.9) -> None:
        check_int(0, num_threads=num_threads)
        check_number(0, 1, min_share=min_share)
        super().__init__(io_backend='disk', num_threads=num_threads)
        self.min_share = min_share

    def _get_video_reader(self, filename: str) -> Any:
        import decord

        if osp.splitext(filename)[0] == filename:
            filename += '.mp4'  # as upstream
        if not osp.getsize(filename):
            raise ValueError('the file has 0 bytes')
        return decord.VideoReader(filename, num_threads=self.num_threads)

    def transform(self, results: dict) -> dict:
        """Add ``video_reader``, ``total_frames`` and ``avg_fps``.

        Args:
            results (dict): With the path in ``filename``.

        Returns:
            dict: The same dict.
        """
        results = super().transform(results)
        frames = results['total_frames']
        promised = frames_in_header(results['filename'])
        if not frames:
            raise ValueError('the file has no frames')
        if frames < self.min_share * promised:
            raise ValueError(
                f'the file ends early: {frames} frames of the {promised} in its header'
            )
        return results


def frames_in_header(filename: str) -> int:
    """How many frames the file's header promises.

    Args:
        filename (str): A video file.

    Returns:
        int: The number, or 0 for containers that do not write it down.
    """
    if osp.splitext(filename)[1].lower() not in COUNTED:
        return 0
    capture = cv2.VideoCapture(filename)
    promised = int(capture.get(cv2.CAP_PROP_FRAME_COUNT))
    capture.release()
    return max(promised, 0)
