"""Metric of captions, and a page of them beside their references."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mmengine.evaluator import BaseMetric

from cnnlstm_mm.options import check_int
from cnnlstm_mm.storage import write_text
from mmaction.registry import METRICS

from .page import caption_page
from .scores import caption_scores


@METRICS.register_module()
class CaptionMetric(BaseMetric):
    """BLEU-1 to -4, ROUGE-L, CIDEr-D, METEOR and exact match, see :func:`caption_scores`.

    Args:
        meteor: Compute METEOR, which needs Java; None: where Java is installed.
        out_dir: Folder for ``captions.json`` and ``captions.html``; None writes nothing.
        page_clips: Most clips on the page, evenly spread over the list.
        **kwargs: ``collect_device`` and ``prefix`` of mmengine's BaseMetric.

    Raises:
        ModuleNotFoundError: In the evaluation, without pycocoevalcap.
        ValueError: For samples without references, and for ``meteor=True`` without Java.
    """

    default_prefix = 'caption'

    def __init__(
        self,
        meteor: bool | None = None,
        out_dir: str | None = None,
        page_clips: int = 50,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        check_int(page_clips=page_clips)
        self.meteor, self.out_dir, self.page_clips = meteor, out_dir, page_clips

    def process(self, data_batch: Any, data_samples: Sequence[dict]) -> None:
        """Keep captions and references of a batch."""
        for sample in data_samples:
            if not sample.get('captions'):
                raise ValueError(
                    f'CaptionMetric: expected references, got none for {sample.get("filename")}; '
                    "fix: the data set's type='CaptionDataset'"
                )
            self.results.append(
                dict(
                    file=sample['filename'],
                    caption=sample['pred_captions'][0]['caption'],
                    n_best=sample['pred_captions'],
                    references=list(sample['captions']),
                )
            )

    def compute_metrics(self, results: list[dict[str, Any]]) -> dict[str, float]:
        """The scores; writes the files."""
        clips = {f'{number} {one["file"]}': one for number, one in enumerate(results)}
        scores, by_clip = caption_scores(
            {name: one['caption'] for name, one in clips.items()},
            {name: one['references'] for name, one in clips.items()},
            self.meteor,
        )
        if self.out_dir is not None:
            done = [dict(one, **by_clip[name]) for name, one in clips.items()]
            folder = Path(self.out_dir)
            content = json.dumps(dict(scores=scores, clips=done), indent=1, ensure_ascii=False)
            write_text(folder / 'captions.json', content + '\n')
            chosen = done[:: -(-len(done) // self.page_clips)]
            write_text(folder / 'captions.html', caption_page(scores, chosen, len(done)))
        return scores
