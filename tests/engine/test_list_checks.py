"""Lists against head and metrics: refused before work, or weighed."""

import numpy as np
import pytest
import torch
from helpers.list_matrix import base_config, prepare
from helpers.support import run_tool
from mmengine.config import Config

from cnnlstm_mm.engine.list_checks import (
    apply_balanced_weights,
    check_evaluators,
    check_lists,
    only_dumps,
)
from cnnlstm_mm.models.balanced_losses import balanced_weights
from mmaction.registry import MODELS


@pytest.fixture
def cfg(tmp_path):
    """The smallest config; its list holds three clips of class 0 and one of class 1."""
    (tmp_path / 'list.txt').write_text('a.avi 0\nb.avi 0\nc.avi 0\nd.avi 1\n')
    return base_config(tmp_path)


def several(cfg, **head):
    for mode in ('train', 'val', 'test'):
        cfg[f'{mode}_dataloader'].dataset.update(multi_class=True, num_classes=3)
    cfg.model.cls_head.update(loss_cls=dict(type='BCELossWithLogits'), **head)
    return cfg


def test_metrics_of_one_label_are_refused_for_several(cfg):
    several(cfg)
    with pytest.raises(ValueError, match=r'val_evaluator.*got top_k_accuracy, mean_class_accuracy'):
        check_evaluators(cfg, ['train', 'val'])
    check_evaluators(cfg, ['train'])
    cfg.val_evaluator = dict(type='AccMetric', metric_list='mean_average_precision')
    check_evaluators(cfg, ['train', 'val'])
    cfg.val_evaluator = [cfg.val_evaluator, dict(type='AccMetric', metric_list=('top_k_accuracy',))]
    with pytest.raises(ValueError, match='got top_k_accuracy;'):
        check_evaluators(cfg, ['val'])


def test_metrics_with_scopes_in_their_types_are_checked(cfg):
    several(cfg).val_evaluator = dict(type='mmaction.AccMetric')
    with pytest.raises(ValueError, match=r'val_evaluator.*got top_k_accuracy, mean_class_accuracy'):
        check_evaluators(cfg, ['val'])
    cfg.test_evaluator = [dict(type='mmengine.DumpResults', out_file_path='a.pkl')]
    assert only_dumps(cfg)


@pytest.mark.parametrize('kind', [lambda cfg: cfg, several])
def test_scores_of_each_clip_apart_are_refused_before_the_epoch(cfg, kind):
    kind(cfg)
    cfg.val_evaluator = dict(type='AccMetric', metric_list=('mean_average_precision',))
    cfg.model.cls_head.average_clips = None
    with pytest.raises(ValueError, match=r"average_clips: expected 'score' or 'prob'.*got None"):
        check_evaluators(cfg, ['val'])


@pytest.mark.parametrize('number', [None, 4])
def test_several_labels_need_their_number_of_classes(cfg, number):
    several(cfg)
    cfg.val_dataloader.dataset.num_classes = number
    check_lists(cfg, ['train'])
    with pytest.raises(ValueError, match=f'val_dataloader: expected num_classes=3.*got {number}'):
        check_lists(cfg, ['train', 'val'])


def test_class_weights_of_the_list(cfg, tmp_path):
    cfg.model.cls_head.loss_cls = dict(type='CrossEntropyLoss', class_weight='balanced')
    model = MODELS.build(cfg.model)  # as the tools that do not train
    with pytest.raises(ValueError, match=r'train with cnnlstm-mm train'):
        model.cls_head.loss_cls(torch.zeros(2, 3), torch.tensor([0, 1]))
    apply_balanced_weights(cfg, ['train', 'val'])
    weights = cfg.model.cls_head.loss_cls.class_weight
    labels = np.array([0, 0, 0, 1])
    # The formula of scikit-learn's compute_class_weight.
    wanted = len(labels) / (2 * np.bincount(labels))
    assert weights == [*wanted, 1.0]
    loss = MODELS.build(cfg.model).cls_head.loss_cls
    scores, targets = torch.randn(4, 3), torch.from_numpy(labels)
    by_torch = torch.nn.functional.cross_entropy(scores, targets, weight=torch.tensor(weights))
    torch.testing.assert_close(loss(scores, targets), by_torch)


def test_class_weights_of_wrapped_and_joined_lists(cfg, tmp_path):
    inner = cfg.train_dataloader.dataset
    (tmp_path / 'more.txt').write_text('e.avi 2\n')
    joined = [dict(type='RepeatDataset', times=3, dataset=inner)]
    joined.append(dict(inner, ann_file=f'{tmp_path}/more.txt'))
    cfg.train_dataloader.dataset = dict(type='ConcatDataset', datasets=joined)
    loss = cfg.model.cls_head.loss_cls = dict(type='CrossEntropyLoss', class_weight='balanced')
    apply_balanced_weights(cfg, ['train'])
    assert cfg.model.cls_head.loss_cls.class_weight == balanced_weights([[0]] * 3 + [[1], [2]], 3)
    cfg.model.cls_head.loss_cls = loss
    apply_balanced_weights(cfg, ['test'])
    assert cfg.model.cls_head.loss_cls.class_weight is None


@pytest.mark.parametrize('scope', ['', 'mmengine.'])
def test_balanced_twice_is_refused(cfg, scope):
    balanced = dict(type=f'{scope}ClassBalancedDataset', oversample_thr=0.5)
    cfg.train_dataloader.dataset = dict(balanced, dataset=cfg.train_dataloader.dataset)
    cfg.model.cls_head.loss_cls = dict(type='CrossEntropyLoss', class_weight='balanced')
    with pytest.raises(ValueError, match='ClassBalancedDataset.*drop one of both'):
        apply_balanced_weights(cfg, ['train'])
    with pytest.raises(ValueError, match="expected numbers or 'balanced', got 'even'"):
        MODELS.build(dict(type='BCELossWithLogits', class_weight='even'))


def test_a_training_with_balanced_weights_and_a_test_with_its_classes(tmp_path):
    place = prepare('path label', tmp_path / 'place')
    cfg = Config.fromfile(place.config)
    cfg.model.cls_head.loss_cls = dict(type='CrossEntropyLoss', class_weight='balanced')
    cfg.train_dataloader.update(persistent_workers=True)
    cfg.val_cfg = cfg.val_dataloader = cfg.val_evaluator = None
    cfg.dump(place.config)
    (place.folder / 'list.txt').write_text('clip0.avi 0\nclip1.avi 0\nclip2.avi 0\nclip3.avi 1\n')
    work = place.folder / 'work'
    done = run_tool('tools/train.py', place.config, '--work-dir', work)
    assert done.returncode == 0, done.stderr[-3000:]
    weights = Config.fromfile(work / 'own.py').model.cls_head.loss_cls.class_weight
    assert weights == pytest.approx([4 / 6, 2, 1])
    test = ('tools/test.py', place.config, work / 'epoch_1.pth', '--work-dir', work)
    done = run_tool(*test, '--confusion', '--per-class', '--dump', work / 'my scores.pkl')
    assert done.returncode == 0, done.stderr[-3000:]
    lines = [line for line in done.stdout.splitlines() if line.startswith('| ')]
    table = [[cell.strip() for cell in line.strip('|').split('|')] for line in lines]
    assert table[0] == ['class \\ answer', 'Jump', 'Run', 'Wave']
    counts = np.array([list(map(int, row[1:])) for row in table[2:5]])
    assert counts.sum(1).tolist() == [3, 1, 0]
    shares = {row[0]: (int(row[1]), float(row[2].rstrip(' %'))) for row in table[7:]}
    wanted = {0: ('Jump', 3), 1: ('Run', 1)}
    assert shares == {
        name: (clips, pytest.approx(100 * counts[k, k] / clips, abs=0.05))
        for k, (name, clips) in wanted.items()
    }
    said = run_tool('tools/report.py', work, '--configs', place.folder).stdout
    assert 'my scores.pkl' in said and 'not the config of today' not in said


def test_a_list_without_labels_gives_scores_and_no_metric(tmp_path):
    place = prepare('no labels', tmp_path / 'place')
    test = ('tools/test.py', place.config, place.checkpoint, '--work-dir', tmp_path / 'work')
    done = run_tool(*test)
    assert done.returncode == 2 and 'fix: write "path label"' in done.stderr
    assert not (tmp_path / 'work').exists()
    done = run_tool(*test, '--dump', tmp_path / 'scores.pkl')
    assert done.returncode == 0, done.stderr[-3000:]
    assert 'no labels' in done.stdout + done.stderr and 'acc/' not in done.stdout + done.stderr
    assert (tmp_path / 'scores.pkl').is_file()
    done = run_tool(*test, '--per-class')
    assert done.returncode == 2 and 'expected labels' in done.stderr
