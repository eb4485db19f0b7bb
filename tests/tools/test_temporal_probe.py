"""tools/analysis/temporal_probe.py against one clip at a time, by hand."""

import json

import numpy as np
import pytest
import torch
from helpers.stream_models import build
from helpers.support import ROOT, run_tool
from mmengine.config import Config
from mmengine.dataset import Compose, pseudo_collate

from cnnlstm_mm.lab.analysis.frame_orders import OrderScores, frame_orders, reorder

ORDERED = 'configs/mobilenet_convlstm_quickstart.py'
BLIND = 'configs/mobilenet_avgpool_quickstart.py'
TOOL = 'tools/analysis/temporal_probe.py'


def orders_by_hand(number, seeds):
    """Lists of frame numbers, from the words of the documentation."""
    found = {'in order': list(range(16)), 'reversed': list(range(15, -1, -1))}
    for seed in seeds:
        found[f'shuffled {seed}'] = np.random.default_rng([seed, number]).permutation(16).tolist()
    found['frozen'] = [8] * 16
    found['half'] = [k - k % 2 for k in range(16)]
    return found


def test_orders():
    for number in (0, 7):
        found = frame_orders(16, number, [3, 4])
        assert {k: v.tolist() for k, v in found.items()} == orders_by_hand(number, [3, 4])
    shuffles = {
        tuple(frame_orders(16, n, [s])[f'shuffled {s}']) for n in range(3) for s in range(3)
    }
    assert len(shuffles) == 9, 'each video and seed has a shuffle of its own'
    clip = torch.arange(2 * 3 * 4 * 5 * 6).reshape(2, 3, 4, 5, 6)
    turned = reorder(clip, np.array([3, 2, 1, 0]))
    assert torch.equal(turned, clip.flip(2))
    with pytest.raises(ValueError, match='NCTHW'):
        reorder(clip[0], np.array([0]))


def test_summary_by_hand():
    scores = OrderScores(['a', 'b', 'unused'])
    for label, answers in (
        (0, [0, 1, 0, 1, 0, 1]),
        (0, [0, 1, 0, 0, 1, 1]),
        (1, [1, 0, 0, 0, 1, 0]),
    ):
        for order, answer in zip(
            ('in order', 'reversed', 'shuffled 5', 'shuffled 6', 'frozen', 'half'), answers
        ):
            scores.add(order, label, answer)
    found = scores.summary()
    assert found['videos'] == 3 and found['chance'] == pytest.approx(1 / 3)
    assert found['top1'] == pytest.approx(
        {'in order': 1, 'reversed': 0, 'shuffled': (2 / 3 + 1 / 3) / 2, 'frozen': 2 / 3, 'half': 0}
    )
    assert found['shuffled_by_seed'] == pytest.approx({'5': 2 / 3, '6': 1 / 3})
    assert found['per_class']['a'] == pytest.approx(
        {
            'in order': 1,
            'reversed': 0,
            'shuffled': 0.75,
            'frozen': 0.5,
            'half': 0,
            'videos': 2,
            'reversed_as': 'b',
        }
    )
    assert list(found['per_class']) == ['a', 'b']


@pytest.mark.slow
def test_the_tool(quickstart_data, tmp_path):
    videos = quickstart_data / 'videos'
    ann_file = quickstart_data / 'quickstart_val_split_1_videos.txt'
    names = [row.split()[0] for row in ann_file.read_text().splitlines()][::2]
    models, answers = {}, {}
    torch.manual_seed(0)
    for config in (ORDERED, BLIND):
        cfg = Config.fromfile(ROOT / config)
        model = build(cfg)
        if model.with_neck:  # so that its answers depend on the order
            for parameter in model.neck.parameters():
                parameter.data *= 6
        pipeline = Compose(cfg.test_pipeline)
        found = []
        for bias in (True, False):  # first what to take from the scores
            for number, name in enumerate(names):
                packed = pipeline(
                    dict(filename=str(videos / name), start_index=0, modality='RGB', label=0)
                )
                for order in orders_by_hand(number, [0, 9]).values():
                    clip = torch.stack([packed['inputs'][:, :, k] for k in order], dim=2)
                    data = pseudo_collate([dict(packed, inputs=clip)])
                    with torch.no_grad():
                        if bias:
                            x = model.data_preprocessor(data)['inputs']
                            found.append(model(x, mode='tensor', stage='head')[0])
                        else:
                            (sample,) = model.test_step(data)
                            answers.setdefault(config, []).append(int(sample.pred_score.argmax()))
            if bias:
                model.cls_head.fc_cls.bias.data -= torch.cat(found).mean(0)
        models[config] = str(tmp_path / f'{len(models)}.pth')
        torch.save(model.state_dict(), models[config])
    answers = {
        config: np.array(values).reshape(len(names), 6) for config, values in answers.items()
    }
    # The labels: what the first model says, in one or the other order.
    labels = [answers[ORDERED][k, k % 6] for k in range(len(names))]
    (tmp_path / 'list.txt').write_text(
        ''.join(f'{name} {label}\n' for name, label in zip(names, labels))
    )
    done = run_tool(
        TOOL,
        ORDERED,
        models[ORDERED],
        BLIND,
        models[BLIND],
        '--shuffles',
        0,
        9,
        '--json',
        tmp_path / 'new/probe.json',
        '--plot',
        tmp_path / 'new/probe.png',
        '--cfg-options',
        f'test_dataloader.dataset.ann_file={tmp_path}/list.txt',
        f'test_dataloader.dataset.data_prefix.video={videos}',
        'test_dataloader.batch_size=3',
        'test_dataloader.num_workers=0',
        'test_dataloader.persistent_workers=False',
    )
    assert done.returncode == 0, done.stderr
    written = json.loads((tmp_path / 'new/probe.json').read_text())
    for config, model in zip((ORDERED, BLIND), written['models']):
        right = (answers[config] == np.array(labels)[:, None]).mean(0)
        assert [
            *list(model['top1'].values())[:2],
            *model['shuffled_by_seed'].values(),
            *list(model['top1'].values())[3:],
        ] == pytest.approx(right.tolist())
    ordered, blind = (m['top1'] for m in written['models'])
    assert len(set(ordered.values())) > 1
    assert blind['in order'] == blind['reversed'] == blind['shuffled']
    assert '| mobilenet_convlstm_quickstart |' in done.stdout
    assert (tmp_path / 'new/probe.png').read_bytes()[1:4] == b'PNG'
