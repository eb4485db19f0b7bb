"""Captions while videos run, in onnxruntime."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime

from cnnlstm_mm.text import join_words

from .base_captioner import BaseStreamingCaptioner, Captions
from .onnx_recognizer import OnnxStreamingRecognizer


class OnnxStreamingCaptioner(BaseStreamingCaptioner):
    """:class:`StreamingCaptioner` for the files of ``cnnlstm-mm export-captions``.

    It needs numpy, OpenCV and onnxruntime, and neither PyTorch nor MMAction2. The search is
    greedy.

    Args:
        stem: path of the files without ``_encoder.onnx`` and ``_decoder.onnx``.
        threads: CPU threads; None for one a core.
        providers: onnxruntime's execution providers, in order of preference.
        max_steps: most steps that are kept of each stream, the newest; None keeps all.

    Attributes:
        words: the vocabulary.

    Raises:
        FileNotFoundError: if a file does not exist.
        ValueError: if the files are those of different models.
    """

    def __init__(
        self,
        stem: str | Path,
        threads: int | None = None,
        providers: Sequence[str] = ('CPUExecutionProvider',),
        max_steps: int | None = None,
    ) -> None:
        encoder = OnnxStreamingRecognizer(f'{stem}_encoder.onnx', threads, providers)
        decoder = Path(f'{stem}_decoder.onnx')
        if not decoder.is_file():
            raise FileNotFoundError(f'expected an ONNX model at {decoder}, got no such file')
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads or 0
        self.session = onnxruntime.InferenceSession(
            str(decoder), options, providers=list(providers)
        )
        facts: dict[str, Any] = self.session.get_modelmeta().custom_metadata_map
        if facts.get('mode') != 'decoder' or facts.get('encoder_id') != encoder.model_id:
            raise ValueError(
                f'expected the decoder that was exported with {stem}_encoder.onnx, got {decoder}, '
                'of another model; fix: export both with cnnlstm-mm export-captions'
            )
        self.words: list[str] = json.loads(facts['words'])
        self.begin, self.end = json.loads(facts['begin']), json.loads(facts['end'])
        self.forbidden: list[int] = json.loads(facts['forbidden'])
        self.max_words: int = json.loads(facts['max_words'])
        self._size: int = json.loads(facts['hidden_channels'])
        channels = json.loads(facts['channels'])
        super().__init__(encoder, channels, facts['attend'], max_steps)

    def _write(self, memory: np.ndarray, mask: list[list[bool]]) -> list[Captions]:
        batch = len(memory)
        feed: dict[str, np.ndarray] = dict(memory=memory, mask=np.array(mask))
        state = {name: np.zeros((batch, self._size), np.float32) for name in ('h', 'c')}
        word = np.full(batch, self.begin)
        sentences: list[list[int]] = [[] for _ in range(batch)]
        totals, running = np.zeros(batch), np.ones(batch, bool)
        for length in range(self.max_words + 1):
            log_probs, h, c = self.session.run(
                ['log_probs', 'next.h', 'next.c'], {**feed, **state, 'words': word}
            )
            state = dict(h=h, c=c)
            log_probs[:, self.forbidden] = -np.inf
            word = log_probs.argmax(1)
            if length == self.max_words:
                word[:] = self.end
            totals += np.where(running, log_probs[np.arange(batch), word], 0)
            running &= word != self.end
            for number in np.flatnonzero(running):
                sentences[number].append(int(word[number]))
            if not running.any():
                break
        return [
            [dict(caption=join_words(self.words[n] for n in sentence), log_prob=p, score=p)]
            for sentence, p in zip(sentences, totals.tolist())
        ]
