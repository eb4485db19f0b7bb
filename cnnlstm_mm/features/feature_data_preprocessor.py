"""Batches of sequences of different lengths."""

import torch
from mmengine.model import BaseDataPreprocessor
from torch import Tensor

from mmaction.registry import MODELS
from mmaction.structures import ActionDataSample


@MODELS.register_module()
class FeatureDataPreprocessor(BaseDataPreprocessor):
    """Stack sequences of features; shorter ones end in NaN.

    Recognizer3D hands the backbone one tensor and no lengths, so they travel inside it:
    ``PrecomputedFeatures`` reads them from the NaNs. A module that does not know of them gives
    NaN instead of wrong numbers.
    """

    def forward(self, data: dict, training: bool = False) -> dict | tuple[dict]:
        """Stack the sequences of a batch.

        Args:
            data: ``inputs``, a list of [views, C, T, h, w] whose T may differ, and
                ``data_samples``.
            training: Not used.

        Returns:
            The same, with ``inputs`` float32 [N, views, C, max(T), h, w].

        Raises:
            ValueError: If shapes differ in more than T, or a sequence holds NaN; with the file.
        """
        data = self.cast_data(data)
        inputs, samples = data['inputs'], data['data_samples']
        for sequence, sample in zip(inputs, samples):
            self._check(sequence, inputs[0], sample)
        steps = max(sequence.shape[2] for sequence in inputs)
        views, channels, _, *size = inputs[0].shape
        # [N, views, C, T, h, w]
        batch = inputs[0].new_full(
            (len(inputs), views, channels, steps, *size), torch.nan, dtype=torch.float32
        )
        for row, sequence in zip(batch, inputs):
            row[:, :, : sequence.shape[2]] = sequence
        return dict(data, inputs=batch)

    @staticmethod
    def _check(sequence: Tensor, first: Tensor, sample: ActionDataSample) -> None:
        name = sample.metainfo.get('filename', 'a sequence')
        if sequence.dim() != 5 or sequence[:, :, 0].shape != first[:, :, 0].shape:
            raise ValueError(
                f'expected {tuple(first.shape)} as in the rest of the batch, got '
                f'{tuple(sequence.shape)} in {name}: [views, C, T, h, w] may differ only in T'
            )
        if sequence[:, 0].isnan().any():
            raise ValueError(
                f'expected finite features, got NaN in {name}; fix: write the file again'
            )
