"""Identity backbone for precomputed features."""

from mmengine.model import BaseModule
from torch import Tensor

from cnnlstm_mm.models.feature_input import PaddedFeature
from mmaction.registry import MODELS


@MODELS.register_module()
class PrecomputedFeatures(BaseModule):
    """Pass features on, with the lengths of the sequences of a batch.

    It belongs to ``FeatureDataPreprocessor``, which ends short sequences in NaN.
    """

    def forward(self, x: Tensor) -> Tensor | PaddedFeature:
        """Pass features on.

        Args:
            x: [N, C, T, h, w], NaN after the end of a sequence.

        Returns:
            ``x`` if all sequences have T steps, or ``x`` with their lengths.
        """
        ended = x[:, 0, :, 0, 0].isnan()  # [N, T]
        if not ended.any():
            return x
        return PaddedFeature(x, (~ended).sum(dim=1))
