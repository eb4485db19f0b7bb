"""Transform that samples frames from a part of a video."""

from mmcv.transforms import BaseTransform

from mmaction.registry import TRANSFORMS


@TRANSFORMS.register_module()
class FrameWindow(BaseTransform):
    """Let the transforms that follow sample frames ``first`` to ``end - 1`` of ``window`` alone.

    It stands after the transform that opens the video; a clip without ``window`` stays whole.
    """

    def transform(self, results: dict) -> dict:
        """Change ``start_index`` and ``total_frames``.

        Raises:
            ValueError: If the video has no frame in the window.
        """
        if 'window' not in results:
            return results
        first, end = results['window']
        end = min(end, results['total_frames'])
        if not 0 <= first < end:
            raise ValueError(
                f'expected frames from {first} on, got a video of {results["total_frames"]}'
            )
        return dict(results, start_index=results['start_index'] + first, total_frames=end - first)
