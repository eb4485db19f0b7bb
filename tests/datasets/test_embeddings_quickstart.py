"""The reviews: order alone decides, and the LSTM learns it."""

from collections import Counter

import numpy as np
import pytest
from helpers.support import ROOT, run_tool
from mmengine.config import Config
from mmengine.runner import Runner

pytestmark = pytest.mark.slow


def test_order_alone_decides_and_is_learnt(tmp_path):
    data = tmp_path / 'data'
    done = run_tool(
        'tools/data/make_embeddings_quickstart.py',
        '--out',
        data,
        '--train-pairs',
        500,
        '--val-pairs',
        60,
    )
    assert done.returncode == 0, done.stderr
    reviews = (data / 'reviews_val.txt').read_text().splitlines()
    lengths = {len(review.split()) for review in reviews}
    assert len(lengths) > 5
    for negative, positive in zip(reviews[::2], reviews[1::2]):
        assert negative != positive
        assert Counter(negative.split()) == Counter(positive.split())
    means = [np.load(path).mean(0) for path in sorted((data / 'vectors').glob('val_*'))]
    # Whatever a function of the mean says, it says it of both: it is at 50 %.
    np.testing.assert_allclose(means[::2], means[1::2], atol=1e-6)

    cfg = Config.fromfile(ROOT / 'configs/lstm_embeddings_quickstart.py')
    for mode, part in (('train', 'train'), ('val', 'val')):
        dataset = cfg[f'{mode}_dataloader'].dataset
        dataset.ann_file = str(data / f'embeddings_{part}_list.txt')
        dataset.data_prefix.feature = str(data / 'vectors')
    cfg.test_cfg = cfg.test_dataloader = cfg.test_evaluator = None
    cfg.work_dir, cfg.randomness = str(tmp_path / 'work'), dict(seed=0)
    runner = Runner.from_cfg(cfg)
    runner.train()
    assert runner.val_loop.run()['acc/top1'] > 0.9
