"""Answers in files: JSON lines that a later run goes on with, and CSV."""

import csv
import io
import json
import os
import os.path as osp
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from cnnlstm_mm.storage import differing_settings, write_json, write_text
from cnnlstm_mm.text import truncate_list

Best = list[dict[str, Any]]  # the best classes of a file, the best one first


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
    """JSON lines ``{"file": ..., KEY: [...]}``, with their settings in a file beside them.

    A line is added as soon as it is known, so that a killed run loses none. Answers of files that
    changed since, and of addresses, are dropped when it is opened again.

    Args:
        path: The file; None keeps the answers in memory alone.
        settings: What the answers depend on.
        key: Name of the answers, lists of dicts.

    Raises:
        ValueError: If the file is damaged or was made with other settings; with each difference.
    """

    def __init__(self, path: str | None, settings: dict[str, Any], key: str = 'topk') -> None:
        self.path, self.settings, self.key = path, settings, key
        self.answers: dict[str, Best] = {}
        if path is None or is_special(path):
            return
        if osp.isfile(path):
            self._check_settings(Path(self.settings_file))
            if self._read(Path(path)):
                write_text(path, ''.join(self._line(*answer) for answer in self.answers.items()))
        else:
            write_json(self.settings_file, self.settings, indent=1)

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

    def _read(self, path: Path) -> bool:
        """Take the answers; whether a line is dropped."""
        written, dropped = path.stat().st_mtime_ns, False
        text = path.read_text(encoding='utf-8', errors='replace')
        for number, line in enumerate(text.splitlines(keepends=True), 1):
            if not line.endswith('\n'):  # a kill cut it short
                return True
            try:
                answer = json.loads(line)
                name, best = answer['file'], list(answer[self.key])
            except (KeyError, TypeError, ValueError) as error:
                raise ValueError(
                    f'{path}, line {number}: expected a file and its {self.key}, got '
                    f'{line[:60].strip()!r} ({error}); fix: remove that line'
                ) from None
            dropped |= not self._holds(name, written)
            if self._holds(name, written):
                self.answers[name] = best
        return dropped

    @staticmethod
    def _holds(name: str, written: int) -> bool:
        if '://' in name:
            return False
        with suppress(OSError):  # the answer of a file that is gone stays
            return os.stat(name).st_ctime_ns < written
        return True

    def _line(self, name: str, best: Best) -> str:
        return json.dumps({'file': name, self.key: best}, ensure_ascii=False) + '\n'

    def add(self, name: str, best: Best) -> None:
        """Keep the answer of a file, and write it."""
        self.answers[name] = best
        if self.path is not None:
            with open(self.path, 'a', encoding='utf-8') as file:
                file.write(self._line(name, best))


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
