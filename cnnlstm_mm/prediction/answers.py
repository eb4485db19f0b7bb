"""Answers in files: JSON lines that a later run goes on with, and CSV."""

import csv
import io
import json
import os
import os.path as osp
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from cnnlstm_mm.storage import differing_settings, write_json, write_text
from cnnlstm_mm.text import truncate_list

Best = list[dict[str, Any]]  # the best classes of a file, the best one first
SECONDS = 10  # between writes, or 20 times what one takes: what a killed run loses


def best_classes(scores: Tensor, labels: Sequence[str], topk: int) -> Best:
    """``class`` (name), ``label`` and ``score`` of the best classes of scores [classes]."""
    values, order = torch.sort(scores.float(), descending=True, stable=True)
    return [
        {'class': labels[label], 'label': label, 'score': round(score, 7)}
        for label, score in zip(order[:topk].tolist(), values[:topk].tolist())
    ]


def is_special(path: str) -> bool:
    """Whether a path is a device or a pipe, such as /dev/stdout."""
    return osp.exists(path) and not osp.isfile(path)


class AnswerFile:
    """JSON lines ``{"file": ..., "topk": [...]}``, with their settings in a file beside them.

    It is written atomically, now and then. Answers of files that changed since are dropped.

    Args:
        path: The file; None keeps the answers in memory alone.
        settings: What the answers depend on.

    Raises:
        ValueError: If the file is damaged or was made with other settings; with each difference.
    """

    def __init__(self, path: str | None, settings: dict[str, Any]) -> None:
        self.path, self.settings = path, settings
        self.special = path is not None and is_special(path)  # it is written once
        self.answers: dict[str, Best] = {}
        self._new, self._due = False, time.monotonic() + SECONDS
        if path is not None and osp.isfile(path):
            self._check_settings(Path(self.settings_file))
            self._read(Path(path))

    @property
    def settings_file(self) -> str:
        """Name of the file with the settings."""
        return f'{self.path}.settings.json'

    def _check_settings(self, path: Path) -> None:
        fix = 'fix: name another --jsonl, or remove that file'
        try:
            found = dict(json.loads(path.read_text(encoding='utf-8')))
        except (OSError, ValueError, TypeError) as error:
            raise ValueError(
                f'{self.path}: expected the settings of its answers in {path.name}, got {error}; '
                f'{fix}'
            ) from None
        differences = differing_settings(found, self.settings)
        if differences:
            raise ValueError(f'{self.path} was made with {truncate_list(differences)}; {fix}')

    def _read(self, path: Path) -> None:
        written = path.stat().st_mtime_ns
        for number, line in enumerate(path.read_text(encoding='utf-8').splitlines(), 1):
            try:
                answer = json.loads(line)
                name, best = answer['file'], list(answer['topk'])
            except (KeyError, TypeError, ValueError) as error:
                raise ValueError(
                    f'{path}, line {number}: expected a file and its classes, got {line[:60]!r} '
                    f'({error}); fix: remove that line'
                ) from None
            with suppress(OSError):  # the answer of a file that is gone stays
                if os.stat(name).st_ctime_ns >= written:
                    self._new = True
                    continue
            self.answers[name] = best

    def add(self, name: str, best: Best) -> None:
        """Keep the answer of a file."""
        self.answers[name] = best
        self._new = True
        if time.monotonic() > self._due and not self.special:
            self.write()

    def write(self) -> None:
        """Write what is new."""
        if self.path is None or not self._new:
            return
        began = time.monotonic()
        if not osp.exists(self.path):
            write_json(self.settings_file, self.settings, indent=1)
        lines = [
            json.dumps(dict(file=name, topk=best), ensure_ascii=False)
            for name, best in self.answers.items()
        ]
        write_text(self.path, '\n'.join([*lines, '']))
        ended = time.monotonic()
        self._new, self._due = False, ended + max(SECONDS, 20 * (ended - began))


def write_csv(path: str, answers: dict[str, Best], topk: int) -> None:
    """Write ``file, rank1_class, rank1_score, rank2_class, ...``, one line per file."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator='\n')
    columns = [f'rank{rank}_{key}' for rank in range(1, topk + 1) for key in ('class', 'score')]
    writer.writerow(['file', *columns])
    for name, best in answers.items():
        writer.writerow([name, *(value for one in best for value in (one['class'], one['score']))])
    write_text(path, text.getvalue())


def table(answers: dict[str, Best]) -> str:
    """Columns of text: file, then class and score from the best one on."""
    rows = [
        [name, *(cell for one in best for cell in (one['class'], f'{one["score"]:.4f}'))]
        for name, best in answers.items()
    ]
    widths = [max(map(len, column)) for column in zip(*rows)]
    return '\n'.join(
        '  '.join(f'{cell:{width}}' for cell, width in zip(row, widths)).rstrip() for row in rows
    )
