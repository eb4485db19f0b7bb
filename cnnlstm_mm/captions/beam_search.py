"""Beam search over words, for any decoder that goes step by step."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from cnnlstm_mm.models.stepping import State

from .vocabulary import BOS, EOS

Step = Callable[[Tensor, State], tuple[Tensor, State]]


class Hypothesis(NamedTuple):
    """A sentence: word numbers without the special ones, and its log-probability with the end.

    ``score`` ranks the hypotheses: the log-probability over (words + 1) ** length_penalty.
    """

    words: tuple[int, ...]
    log_prob: float
    score: float


@torch.no_grad()
def beam_search(
    step: Step,
    state: State,
    width: int,
    max_words: int,
    n_best: int = 1,
    length_penalty: float = 0.0,
    no_repeat_ngram: int | None = None,
    forbidden: Sequence[int] = (),
) -> list[list[Hypothesis]]:
    """The best sentences of each sample.

    A hypothesis that ends takes its place in the beam with it, so that a width of 1 is the greedy
    search. The search ends with the places, or at ``max_words``, where a sentence must end.

    Args:
        step: Maps words [N * width] and the state before them to log-probabilities
            [N * width, V] and the state after them; rows of a sample are neighbours.
        state: Tensors [N, ...] before the first word.
        width: Hypotheses of a sample.
        max_words: Most words of a sentence, without its end.
        n_best: Most hypotheses that are returned, the best first.
        length_penalty: 0 ranks by log-probability, 1 by its mean over words; long sentences gain.
        no_repeat_ngram: No run of this many words comes twice in a sentence; None: no limit.
        forbidden: Words that are never written.

    Source: with the shrinking beam of Bahdanau et al., ICLR 2015, and Yao et al., ICCV 2015.
    """
    batch = len(next(iter(state.values())))
    device = next(iter(state.values())).device
    state = {name: value.repeat_interleave(width, 0) for name, value in state.items()}
    words = torch.full((batch * width,), BOS, device=device)
    totals = torch.full((batch, width), -torch.inf, device=device)
    totals[:, 0] = 0  # one empty sentence
    prefixes: list[list[tuple[int, ...]]] = [[()] * width for _ in range(batch)]
    done: list[list[Hypothesis]] = [[] for _ in range(batch)]
    for length in range(max_words + 1):
        log_probs, state = step(words, state)
        log_probs = log_probs.float()
        log_probs[:, list(forbidden)] = -torch.inf
        if no_repeat_ngram:
            _block(log_probs, prefixes, no_repeat_ngram)
        if length == max_words:
            ends = log_probs[:, EOS].clone()
            log_probs.fill_(-torch.inf)[:, EOS] = ends
        size = log_probs.shape[1]
        candidates = totals[..., None] + log_probs.view(batch, width, size)
        best, places = candidates.flatten(1).topk(width)  # [N, width], in order
        rows, nexts = (places // size).tolist(), (places % size).tolist()
        totals, old = torch.full_like(best, -torch.inf), prefixes
        prefixes = [list(rank) for rank in old]
        for n, values in enumerate(best.tolist()):
            left = width - len(done[n])
            for k, value in enumerate(values[:left]):
                prefix, word = old[n][rows[n][k]], nexts[n][k]
                if value == -torch.inf:
                    continue
                if word == EOS:
                    score = value / (len(prefix) + 1) ** length_penalty
                    done[n].append(Hypothesis(prefix, value, score))
                else:
                    totals[n, k] = best[n, k]
                    prefixes[n][k] = (*prefix, word)
        if not totals.isfinite().any():
            break
        words = (places % size).flatten()
        order = (places // size + width * torch.arange(batch, device=device)[:, None]).flatten()
        state = {name: value[order] for name, value in state.items()}
    ranked = [sorted(found, key=lambda one: -one.score) for found in done]
    return [found[:n_best] for found in ranked]


def _block(log_probs: Tensor, prefixes: list[list[tuple[int, ...]]], size: int) -> None:
    """Forbid the words that would repeat a run of ``size`` words, in place."""
    flat = [prefix for of_sample in prefixes for prefix in of_sample]
    for row, prefix in zip(log_probs, flat):
        runs = [prefix[k : k + size] for k in range(len(prefix) - size + 1)]
        tail = prefix[len(prefix) - size + 1 :] if size > 1 else ()
        repeated = [run[-1] for run in runs if run[:-1] == tail]
        if repeated:
            row[repeated] = -torch.inf
