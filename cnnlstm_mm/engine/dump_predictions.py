"""Predictions of a test, tied to the checkpoint that made them."""

import pickle
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mmengine.evaluator import DumpResults

from cnnlstm_mm.features.sequence_file import ArrayUnpickler
from cnnlstm_mm.storage import atomic_path
from mmaction.registry import METRICS


@METRICS.register_module()
class DumpPredictions(DumpResults):
    """mmengine's DumpResults, written atomically, with a second pickle after the predictions.

    ``pickle.load`` and ``mmengine.load`` read the predictions alone, as before. The second one is
    a dict, see :func:`cnnlstm_mm.run_identity.checkpoint_facts`.
    """

    facts: dict[str, Any] | None = None

    def compute_metrics(self, results: Sequence[Any]) -> dict:
        """Write the file."""
        with atomic_path(self.out_file_path) as path, path.open('wb') as file:
            pickle.dump(list(results), file)
            pickle.dump(self.facts, file)
        return {}


def read_predictions(path: Path) -> tuple[list[dict], dict[str, Any]]:
    """Read predictions and the facts of their checkpoint; {} where the file has none."""
    with path.open('rb') as file:
        samples = ArrayUnpickler(file).load()
        try:
            facts = ArrayUnpickler(file).load()
        except EOFError:
            facts = None
    return samples, facts or {}
