"""Scores of captions against references: pycocoevalcap's, on words of our tokenizer."""

import shutil
from collections.abc import Mapping, Sequence
from typing import Any

from .treebank import tokenize

SCORES = ('BLEU-1', 'BLEU-2', 'BLEU-3', 'BLEU-4', 'ROUGE-L', 'CIDEr-D', 'METEOR', 'exact_match')


def caption_scores(
    captions: Mapping[str, str], references: Mapping[str, Sequence[str]], meteor: bool | None = None
) -> tuple[dict[str, float], dict[str, dict[str, float]]]:
    """Score captions.

    Args:
        captions: By clip.
        references: By clip; the same clips.
        meteor: Whether to compute METEOR, which needs Java; None: where Java is installed.

    Returns:
        The scores in percent of the whole set (CIDEr-D times 100, as papers print it), and of
        each clip ``CIDEr-D`` and ``exact_match``, whether the words are those of a reference.

    Raises:
        ModuleNotFoundError: Without pycocoevalcap.
        ValueError: For METEOR without Java, or references of other clips.
    """
    if captions.keys() != references.keys():
        raise ValueError('expected captions and references of the same clips, got different ones')
    java = shutil.which('java') is not None
    if meteor and not java:
        raise ValueError('meteor=True: expected Java, got none; fix: install it, or meteor=False')
    bleu, cider, rouge = _scorers()
    given = {clip: [' '.join(tokenize(text))] for clip, text in captions.items()}
    wanted = {clip: [' '.join(tokenize(t)) for t in texts] for clip, texts in references.items()}
    exact = {clip: float(given[clip][0] in wanted[clip]) for clip in given}
    values, _ = bleu(4).compute_score(wanted, given, verbose=0)
    scores = {f'BLEU-{n}': 100 * float(value) for n, value in enumerate(values, 1)}
    scores['ROUGE-L'] = 100 * float(rouge().compute_score(wanted, given)[0])
    value, each = cider().compute_score(wanted, given)
    scores['CIDEr-D'] = 100 * float(value)
    if java if meteor is None else meteor:
        scores['METEOR'] = 100 * _meteor(wanted, given)
    scores['exact_match'] = 100 * sum(exact.values()) / len(exact)
    by_clip = {
        clip: {'CIDEr-D': 100 * float(one), 'exact_match': exact[clip]}
        for clip, one in zip(given, each)
    }
    return scores, by_clip


def _scorers() -> tuple[Any, Any, Any]:
    try:
        from pycocoevalcap.bleu.bleu import Bleu
        from pycocoevalcap.cider.cider import Cider
        from pycocoevalcap.rouge.rouge import Rouge
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            'CaptionMetric: expected the library pycocoevalcap, got none; fix: python -m pip '
            'install "cnnlstm_mm[captions]"',
            name=error.name,
        ) from None
    return Bleu, Cider, Rouge


def _meteor(references: dict[str, list[str]], captions: dict[str, list[str]]) -> float:
    from pycocoevalcap.meteor.meteor import Meteor

    scorer = Meteor()
    try:
        return float(scorer.compute_score(references, captions)[0])
    finally:
        process = scorer.meteor_p
        process.kill()
        process.wait()
        process.stdout.close()
        process.stderr.close()
