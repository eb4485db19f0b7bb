"""Captioners as two ONNX files: a step of the encoder, and a step of the decoder."""

import copy
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from torch import Tensor, nn

from cnnlstm_mm.captions.caption_head import CaptionHead
from cnnlstm_mm.captions.vocabulary import BOS, EOS, PAD, UNK
from cnnlstm_mm.streaming import OnnxStreamingCaptioner, StreamingCaptioner

from .graphs import StepGraph
from .onnx_model import convert, save, step_facts, to_onnx


class DecoderGraph(nn.Module):
    """One word of each caption and the state, to the next word's log-probabilities.

    Before the first word the state is zeros: with the word ``BOS`` the graph starts from the
    memory.

    Args:
        head: it is copied.
    """

    names = ('h', 'c')

    def __init__(self, head: CaptionHead) -> None:
        super().__init__()
        self.decoder = copy.deepcopy(head.decoder).cpu().eval()
        memory = torch.randn(2, 3, head.in_channels)
        mask = torch.tensor([[True, True, True], [True, True, False]])
        state = torch.zeros(2, self.decoder.lstm.hidden_size)
        self.example = (torch.tensor([BOS, EOS]), memory, mask, state, state + 0)

    def forward(
        self, words: Tensor, memory: Tensor, mask: Tensor, h: Tensor, c: Tensor
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Map words [N], memory [N, P, C], mask [N, P] and h, c [N, hidden] to the next ones.

        Returns:
            Log-probabilities [N, num_words], h, c, and the attention [N, P].
        """
        begins = (words == BOS)[:, None]
        start = self.decoder.start(memory, mask)
        state = dict(h=torch.where(begins, start['h'], h), c=torch.where(begins, start['c'], c))
        keys = self.decoder.keys(memory)
        feature, state, weights = self.decoder.recur(
            self.decoder.embed(words), state, memory, keys, mask
        )
        scores = self.decoder.classify(feature).log_softmax(1)
        return scores, state['h'], state['c'], weights


def decoder_to_onnx(graph: DecoderGraph, opset: int = 18) -> onnx.ModelProto:
    """Export a decoder's step; the batch and the length of the memory are dynamic."""
    batch, steps = torch.export.Dim('batch', max=2**20), torch.export.Dim('steps', max=2**20)
    sizes = ({0: batch}, {0: batch, 1: steps}, {0: batch, 1: steps}, {0: batch}, {0: batch})
    return convert(
        graph,
        sizes,
        ['words', 'memory', 'mask', *graph.names],
        ['log_probs', *(f'next.{name}' for name in graph.names), 'attention'],
        opset,
    )


def export_captioner(
    captioner: StreamingCaptioner, stem: str | Path, facts: dict[str, Any], opset: int = 18
) -> None:
    """Write ``STEM_encoder.onnx`` and ``STEM_decoder.onnx``.

    Args:
        captioner: on the CPU.
        stem: of the files' names.
        facts: more metadata of both.
        opset: ONNX's operator set, at least 18.

    Raises:
        ValueError: if the test pipeline does not fix the size of frames.
    """
    rec, head = captioner.encoder, captioner.head
    size = rec.frame_size
    if size is None:
        raise ValueError(
            'expected frames of one size after the test pipeline, got a size that depends on the '
            "source; fix: dict(type='CenterCrop', ...) or Resize with keep_ratio=False"
        )
    encoder = StepGraph(rec, size)
    kept = step_facts(rec, encoder, [f'memory {n}' for n in range(rec.num_classes)])
    save(to_onnx(encoder, opset), {**kept, **facts}, f'{stem}_encoder.onnx')
    save(
        decoder_to_onnx(DecoderGraph(head), opset),
        dict(
            facts,
            mode='decoder',
            encoder_id=rec.model_id,
            words=head.vocabulary.words,
            begin=BOS,
            end=EOS,
            forbidden=[PAD, BOS, UNK],
            max_words=head.max_words,
            hidden_channels=head.decoder.lstm.hidden_size,
            channels=head.in_channels,
            attend=head.attend,
        ),
        f'{stem}_decoder.onnx',
    )


def check_captions(
    captioner: StreamingCaptioner, exported: OnnxStreamingCaptioner, frames: Sequence[np.ndarray]
) -> float:
    """Caption a video after each of its frames with both.

    Args:
        captioner: in PyTorch, with a greedy search.
        exported: the same in onnxruntime.
        frames: the video, each frame RGB uint8 [H, W, 3].

    Returns:
        The largest difference of a log-probability; infinity if a caption differs.
    """
    ours, theirs, largest = None, None, 0.0
    for frame in frames:
        ours, theirs = captioner.step([frame], ours), exported.step([frame], theirs)
        want, have = captioner.caption(ours)[0][0], exported.caption(theirs)[0][0]
        if want['caption'] != have['caption']:
            return float('inf')
        largest = max(largest, abs(want['log_prob'] - have['log_prob']))
    return largest
