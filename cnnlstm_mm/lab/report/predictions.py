"""Scores of ``cnnlstm-mm test --dump``: confusion matrix and figures of each class."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from cnnlstm_mm.lab.markdown import markdown_table

MOST_CLASSES = 20  # of a confusion matrix in text; of more classes the worst pairs are shown


class Predictions(NamedTuple):
    """Scores [clips, classes], and labels [clips], or 0 and 1 [clips, classes] of several."""

    scores: np.ndarray
    labels: np.ndarray

    @classmethod
    def of(cls, samples: Sequence[dict]) -> 'Predictions':
        """Stack the samples of :func:`cnnlstm_mm.engine.dump_predictions.read_predictions`."""
        labels = np.stack([np.asarray(sample['gt_label']) for sample in samples])
        scores = np.stack([np.asarray(sample['pred_score']) for sample in samples])
        return cls(scores, labels[:, 0] if labels.shape[1] == 1 else labels)

    @property
    def several(self) -> bool:
        """Whether a clip has several labels."""
        return self.labels.ndim == 2

    def confusion(self) -> np.ndarray:
        """Clips [true class, answer].

        Raises:
            ValueError: If clips have no label, or several.
        """
        if self.several or (self.labels < 0).any():
            kind = 'several' if self.several else 'no'
            raise ValueError(f'expected one label per clip for a confusion matrix, got {kind}')
        counts = np.zeros((self.scores.shape[1],) * 2, int)
        np.add.at(counts, (self.labels, self.scores.argmax(1)), 1)
        return counts

    def per_class(self) -> list[float | None]:
        """Share of right clips of each class; the average precision where clips have several.

        It is None for classes without a clip.
        """
        if self.several:
            from mmaction.evaluation import mean_average_precision

            return [
                float(mean_average_precision(list(self.scores[:, [k]]), list(self.labels[:, [k]])))
                if self.labels[:, k].any()
                else None
                for k in range(self.scores.shape[1])
            ]
        rows = enumerate(self.confusion())
        return [float(row[k] / row.sum()) if row.sum() else None for k, row in rows]

    def clips(self) -> list[int]:
        """Clips of each class."""
        if self.several:
            return self.labels.astype(int).sum(0).tolist()
        return self.confusion().sum(1).tolist()


def confusion_table(counts: np.ndarray, classes: list[str]) -> str:
    """A confusion matrix as a Markdown table; of many classes the most frequent errors."""
    if len(classes) <= MOST_CLASSES:
        rows = [['class \\ answer', *classes]]
        rows += [[name, *map(str, row)] for name, row in zip(classes, counts.tolist())]
        return markdown_table(rows)
    wrong = counts - np.diag(np.diag(counts))
    places = np.argsort(-wrong, axis=None, kind='stable')[:MOST_CLASSES]
    rows = [['class', 'answer', 'clips', 'of']]
    for true, answer in zip(*np.unravel_index(places, counts.shape)):
        if wrong[true, answer]:
            clips = str(wrong[true, answer]), str(counts[true].sum())
            rows.append([classes[true], classes[answer], *clips])
    return markdown_table(rows)


def class_table(found: Predictions, classes: list[str]) -> str:
    """Clips and share of right answers, or average precision, of each class; worst first."""
    lines = [line for line in zip(classes, found.clips(), found.per_class()) if line[1]]
    lines.sort(key=lambda line: line[2] or 0)
    rows = [['class', 'clips', 'average precision' if found.several else 'right']]
    rows += [[name, str(count), f'{100 * (share or 0):.1f} %'] for name, count, share in lines]
    return markdown_table(rows)
