"""tools/report.py on work directories written by hand."""

import hashlib
import json
import pickle
import re
import shutil
from dataclasses import asdict
from statistics import mean, stdev

import pytest
import torch
import yaml
from helpers.support import ROOT, run_tool
from markdown_it import MarkdownIt
from mmengine.config import Config

from cnnlstm_mm.features.store import FORMAT, write_manifest
from cnnlstm_mm.lab import figures
from cnnlstm_mm.lab.markdown import markdown_table
from cnnlstm_mm.lab.report import (
    RunResult,
    check_readme,
    group_runs,
    load_results,
    plots,
    read_run,
    results_tables,
    runs_table,
    save_results,
    write_metafile,
    write_readme,
)
from cnnlstm_mm.lab.report.run_facts import changes, made_of, model_names
from cnnlstm_mm.lab.report.tables import BEGIN, END

CONFIG = 'mobilenet_convlstm_quickstart.py'


def write_run(work_dir, epochs, tested=None, seed=None, change=None, answers=None):
    """A run of two epochs of ten iterations of half a second."""
    cfg = Config.fromfile(ROOT / 'configs' / CONFIG)
    cfg.randomness = dict(seed=seed)
    cfg.merge_from_dict(change or {})
    (work_dir / 'now' / 'vis_data').mkdir(parents=True)
    cfg.dump(work_dir / CONFIG)
    lines = []
    for epoch in range(1, epochs + 1):
        for it in (5, 10):
            step = 10 * (epoch - 1) + it
            lines.append(dict(loss=1.0 / step, time=0.5, epoch=epoch, iter=step, step=step))
        lines.append({'acc/top1': 0.04 * epoch, 'step': epoch})
    log = work_dir / 'now' / 'vis_data' / 'scalars.json'
    log.write_text('\n'.join(map(json.dumps, lines)))
    (work_dir / 'last_checkpoint').write_text(f'/far/epoch_{epochs}.pth')
    if tested is not None:
        for name, value in (('a', 0.1), ('b', tested)):
            (work_dir / name).mkdir()
            (work_dir / name / f'{name}.json').write_text(
                json.dumps({'acc/top1': value, 'acc/top5': 1.0, 'acc/mean1': value / 2})
            )
    if answers is not None:
        samples = [
            dict(gt_label=torch.tensor([label]), pred_score=torch.eye(8)[answer])
            for label, answer in answers
        ]
        (work_dir / 'predictions.pkl').write_bytes(pickle.dumps(samples))
    return work_dir


def read(work_dir):
    return read_run(work_dir, ROOT / 'configs')


def cells(text):
    rows = [
        [cell.strip() for cell in line.strip('|').split('|')]
        for line in text.splitlines()
        if line.startswith('|')
    ]
    return [dict(zip(rows[0], row)) for row in rows[2:]]


@pytest.mark.slow
def test_table_curves_and_page_of_a_whole_and_a_killed_run(tmp_path):
    write_run(
        tmp_path / 'whole', epochs=5, tested=0.875, answers=[(k % 8, k % 8) for k in range(320)]
    )
    write_run(tmp_path / 'killed', epochs=1, tested=0.5)
    done = run_tool(
        'tools/report.py',
        tmp_path / 'whole',
        tmp_path / 'killed',
        '--plot',
        tmp_path / 'curves.png',
        '--html',
        tmp_path / 'new/page.html',
        '--json',
        tmp_path / 'results.json',
    )
    assert done.returncode == 0, done.stderr
    whole, killed = cells(done.stdout)
    assert whole['top-1 (test)'] == '87.5 %', 'the newest test counts'
    assert whole['epochs'] == '5'
    assert whole['neck'] == 'ConvLSTM 24'
    assert whole['input'] == '16x1x1, 64x64'
    assert whole['training'] == '25 s'  # 50 iterations of 0.5 s
    assert whole['loss'] == '0.020'
    assert whole['checkpoint'] == str(tmp_path / 'whole/epoch_5.pth')
    assert 'note' not in whole
    assert killed['epochs'] == '1 of 5, unfinished'
    assert (tmp_path / 'curves.png').read_bytes()[1:4] == b'PNG'
    page = (tmp_path / 'new/page.html').read_text()
    assert page.count('src="data:image/png;base64,') == 3
    assert 'src="h' not in page and 'href="h' not in page
    assert page.count('<tr class="open">') == 1

    stored = json.loads((tmp_path / 'results.json').read_text())['runs'][0]
    # ConvLSTM 24 on 64 channels at 8x8 alone: 16 steps.
    assert stored['flops'] > 16 * 64 * 4 * 24 * 9 * (64 + 24)
    assert stored['params'] > 4 * 24 * 9 * (64 + 24)
    assert list(stored['per_class'].values()) == [1.0] * 8


def test_an_unfinished_run_is_in_no_mean(tmp_path):
    write_run(tmp_path / 'a', 5, tested=0.5, seed=0)
    write_run(tmp_path / 'b', 4, tested=0.9, seed=1)
    ((row,),) = group_runs([read(tmp_path / n)[0] for n in 'ab']).values()
    assert row.average('top1') == (0.5, None)
    assert row.what == '1 seed, 1 more unfinished'
    write_run(tmp_path / 'c', 4, seed=2)
    ((row,),) = group_runs([read(tmp_path / 'c')[0]]).values()
    assert row.what == '4 of 5 epochs, unfinished'
    assert cells(results_tables({'': [row]}))[0]['top-1'] == '-'


def test_the_test_of_an_earlier_epoch_is_none(tmp_path):
    write_run(tmp_path / 'a', 5, tested=0.5)
    (tmp_path / 'a/b/vis_data').mkdir()
    config = tmp_path / 'a/b/vis_data/config.py'
    config.write_text("load_from = 'x/epoch_4.pth'\n")
    assert read(tmp_path / 'a')[0].state == 'not tested'
    config.write_text("load_from = 'x/best_acc_top1_epoch_2.pth'\n")
    run = read(tmp_path / 'a')[0]
    assert run.finished
    assert run.notes == ['tested: best_acc_top1_epoch_2.pth, chosen on the validation clips']


def test_the_training_tells_seed_and_settings_the_test_its_own(tmp_path):
    work_dir = write_run(tmp_path / 'a', 5, tested=0.5)
    cfg = Config.fromfile(work_dir / CONFIG)
    cfg.randomness.seed = 7
    cfg.optim_wrapper.optimizer.lr = 0.5
    cfg.dump(work_dir / 'now/vis_data/config.py')
    cfg = Config.fromfile(work_dir / CONFIG)
    cfg.test_dataloader.dataset.pipeline[1].num_clips = 4
    (work_dir / 'b/vis_data').mkdir()
    cfg.dump(work_dir / 'b/vis_data/config.py')
    run = read(work_dir)[0]
    assert run.seed == 7 and run.protocol == '4 clips x 1 crop'
    assert 'optim_wrapper.optimizer.lr=0.5' in run.notes[0]
    assert 'num_clips=4' in run.notes[0]


def test_another_config_and_a_subset_say_so_and_stay_apart(tmp_path):
    same = {'train_dataloader.num_workers': 0}
    write_run(tmp_path / 'a', 5, tested=0.5, change=same)
    write_run(
        tmp_path / 'b',
        5,
        tested=0.5,
        change={'optim_wrapper.optimizer.lr': 0.5, 'model.neck.hidden_channels': 3},
    )
    write_run(tmp_path / 'c', 5, tested=0.5, answers=[(0, 1), (0, 0), (1, 1)])
    runs = [read(tmp_path / n)[0] for n in 'abc']
    assert runs[0].notes == []
    assert runs[1].notes == [
        'not the config of today: model.neck.hidden_channels=3, optim_wrapper.optimizer.lr=0.5'
    ]
    assert runs[2].notes == ['subset: 3 of 320 test clips']
    assert list(runs[2].per_class.values()) == [0.5, 1.0]
    (rows,) = group_runs(runs).values()
    assert len(rows) == 3
    notes = [row['note'] for row in cells(results_tables({'': rows}))]
    assert 'subset' in notes[2] and 'lr=0.5' in notes[1] and not notes[0]


def test_a_part_of_ucf101_is_never_called_ucf101(tmp_path):
    lists = {
        f'{name}_dataloader.dataset.ann_file': f'data/ucf101_mini10/ucf101_mini10_{part}_split_1_videos.txt'
        for name, part in (('train', 'train'), ('test', 'val'))
    }
    write_run(tmp_path / 'a', 5, tested=0.5, change=lists)
    assert read(tmp_path / 'a')[0].data == (
        'UCF101-mini10 (10 of 101 classes, 240/100 clips of split 1)'
    )
    own = tmp_path / 'mine.txt'
    own.write_text('a.avi 0\n' * 3)
    write_run(tmp_path / 'b', 5, tested=0.5, change={'test_dataloader.dataset.ann_file': str(own)})
    assert read(tmp_path / 'b')[0].data == 'the list mine.txt'
    short = tmp_path / 'ucf101_train_split_1_videos.txt'
    short.write_text('a.avi 0\n' * 7)
    write_run(
        tmp_path / 'c',
        5,
        tested=0.5,
        change={
            'train_dataloader.dataset.ann_file': str(short),
            'test_dataloader.dataset.ann_file': 'ucf101_val_split_1_videos.txt',
        },
    )
    run = read(tmp_path / 'c')[0]
    assert run.data == 'UCF101'
    assert run.notes == ['subset: 7 of 9537 train clips']


def result(split, seed, top1, **kwargs):
    return RunResult(
        **{
            **dict(
                work_dir=f's{split}_{seed}',
                config='configs/x.py',
                data='UCF101',
                notes=[],
                split=split,
                seed=seed,
                frames='8x1x1',
                resolution='9x9',
                protocol='1 clip x 1 crop',
                backbone='B',
                neck='N',
                pretrain='none',
                epochs=2,
                max_epochs=2,
                top1=top1,
                top5=1.0,
                mean_class=0.5,
                flops=1234567890,
                params=2345678,
                checkpoint='epoch_2.pth',
                log='x.log',
            ),
            **kwargs,
        }
    )


def test_means_over_splits_and_seeds():
    values = {
        (1, 0): 0.5,
        (2, 0): 0.7,
        (3, 0): 0.9,
        (1, 1): 0.3,
        (2, 1): 0.6,
        (3, 1): 0.9,
        (1, 2): 0.1,
    }
    ((row,),) = group_runs([result(*key, value) for key, value in values.items()]).values()
    average, spread = row.average('top1')
    # Seed 2 lacks splits: it counts in split 1's mean and in no spread.
    assert average == pytest.approx(
        mean([mean([0.5, 0.3, 0.1]), mean([0.7, 0.6]), mean([0.9, 0.9])])
    )
    assert spread == pytest.approx(stdev([0.7, 0.6]))
    assert row.what == '3 seeds, splits 1, 2, 3'
    text = cells(results_tables({'UCF101': [row]}))[0]
    assert text['top-1'] == f'{100 * average:.1f} ± {100 * spread:.1f}'
    assert text['FLOPs'] == '1.23 G' and text['params'] == '2.35 M'


def test_stored_results_write_the_same_table_and_metafile(tmp_path):
    runs = [result(1, seed, 0.5 + seed / 10) for seed in range(3)]
    planned = [dict(data='Kinetics-400', configs=['y'], command='python z')]
    save_results(tmp_path / 'r.json', runs, planned)
    loaded, waiting = load_results(tmp_path / 'r.json')
    assert (loaded, waiting) == (runs, planned)
    text = results_tables(group_runs(loaded), waiting, files=False)
    assert '| Kinetics-400 | `y` | not yet run | `python z` |' in text
    assert 'epoch_2.pth' not in text

    readme = tmp_path / 'README.md'
    readme.write_text(f'before\n{BEGIN}\nold\n{END}\nafter\n')
    assert '+| B | N |' in check_readme(readme, text)
    write_readme(readme, text)
    assert check_readme(readme, text) == ''
    assert readme.read_text() == f'before\n{BEGIN}\n{text}{END}\nafter\n'
    readme.write_text('no markers')
    with pytest.raises(ValueError, match='results: written by'):
        write_readme(readme, text)
    (tmp_path / 'bad.json').write_text('{"runs": [{"x": 1}]}')
    with pytest.raises(ValueError, match='bad.json'):
        load_results(tmp_path / 'bad.json')

    write_metafile(tmp_path / 'metafile.yml', group_runs(loaded))
    (model,) = yaml.safe_load((tmp_path / 'metafile.yml').read_text())['Models']
    assert model['Name'] == 'x' and model['Config'] == 'configs/x.py'
    assert model['Metadata']['FLOPs'] == 1234567890
    assert model['Results'][0]['Metrics']['Top 1 Accuracy'] == 60.0
    index = yaml.safe_load((tmp_path / 'model-index.yml').read_text())
    assert index == dict(Import=['metafile.yml'])


def test_the_site_has_the_stored_results():
    page = 'docs/results/index.md'
    done = run_tool(
        'tools/report.py', '--from', 'docs/results/results.json', '--readme', page, '--check'
    )
    assert done.returncode == 0, done.stderr


def test_predictions_run_no_code(tmp_path):
    work_dir = write_run(tmp_path / 'a', 5)
    ran = tmp_path / 'ran'
    (work_dir / 'predictions.pkl').write_bytes(f'cos\nsystem\n(S"touch {ran}"\ntR.'.encode())
    run, curves = read(work_dir)
    assert re.search('predictions.pkl left out: .*os.system', run.notes[0])
    assert not ran.exists() and curves.confusion is None and run.predictions is None


@pytest.mark.slow
def test_a_cut_line_is_left_out_and_counted(tmp_path):
    write_run(tmp_path / 'whole', 5, tested=0.5, seed=0)
    cut = write_run(tmp_path / 'cut', 5, tested=0.5, seed=1)
    log = cut / 'now/vis_data/scalars.json'
    lines = log.read_text().splitlines()
    log.write_text('\n'.join(lines[:-2]) + '\n' + lines[-2][:20])
    (cut / 'b/b.json').write_text('{"acc/to')
    (whole, _), (run, curves) = read(tmp_path / 'whole'), read(cut)
    assert run.notes[0] == '1 damaged line of scalars.json left out'
    assert 'b.json left out' in run.notes[1] and run.top1 == 0.1
    assert [line['step'] for line in curves.train] == [*range(5, 50, 5)]
    assert run.loss == pytest.approx(1 / 45) and run.seconds == pytest.approx(22.5)
    ((row,),) = group_runs([whole, run]).values()
    assert row.average('top1')[0] == pytest.approx(0.3), 'damage makes no other model'
    done = run_tool('tools/report.py', cut, '--html', tmp_path / 'page.html')
    assert done.returncode == 0 and '1 damaged line' in done.stdout, done.stderr


@pytest.mark.parametrize('place', ['work dir', 'elsewhere', 'moved'])
def test_predictions_are_found_under_any_name(tmp_path, monkeypatch, place):
    work_dir = write_run(tmp_path / 'a', 5, tested=0.5, answers=[(0, 0), (1, 0)])
    dumped = work_dir / 'predictions.pkl'
    if place != 'work dir':
        (tmp_path / 'out').mkdir()
        wanted = tmp_path / 'out/result.pickle'
        dumped.rename(wanted if place == 'elsewhere' else work_dir / 'result.pickle')
        dumped = wanted if place == 'elsewhere' else work_dir / 'result.pickle'
        write_run(tmp_path / 'other', 1, answers=[(3, 3)])
        (tmp_path / 'other/predictions.pkl').rename(work_dir / 'older.pkl')
        cfg = Config.fromfile(work_dir / CONFIG)
        cfg.test_evaluator = [
            cfg.test_evaluator,
            dict(type='DumpResults', out_file_path=str(wanted)),
        ]
        (work_dir / 'b/vis_data').mkdir()
        cfg.dump(work_dir / 'b/vis_data/config.py')
    else:
        dumped = dumped.rename(work_dir / 'result.pkl')
    run, curves = read(work_dir)
    assert run.predictions == dumped.as_posix()
    assert list(run.per_class.values()) == [1.0, 0.0] and curves.confusion.sum() == 2


def test_names_of_classes_with_dollars_and_bars(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # where the quickstart's lists are not, with their names
    names = ['costs $5 or $6', r'$\nosuch$', 'left|right', '$', '_a', 'b', 'c', 'd']
    (tmp_path / 'label_map.txt').write_text('\n'.join(names) + '\n')
    work_dir = write_run(
        tmp_path / 'a',
        5,
        tested=0.5,
        change=dict(data_root=str(tmp_path)),
        answers=[(k, k) for k in range(8)],
    )
    run, curves = read(work_dir)
    tables = group_runs([run])
    pictures = dict(plots.all_pictures([(run, curves)], tables))
    assert len(pictures) == 3
    for name, figure in pictures.items():
        figures.save_figure(figure, tmp_path / f'{name}.png')
        assert (tmp_path / f'{name}.png').read_bytes()[1:4] == b'PNG'
    (axes,) = pictures['confusion_' + CONFIG[:-3]].axes
    assert [label.get_text() for label in axes.get_yticklabels()] == names
    assert not any(label.get_parse_math() for label in axes.get_yticklabels())
    rows = [['class', 'share'], *([name, '1'] for name in names)]
    page = MarkdownIt('commonmark').enable('table').render(markdown_table(rows))
    assert page.count('<td>') == 2 * len(names) and '<td>left|right</td>' in page


def list_kinds(folder):
    (folder / 'tabs.txt').write_text('a b.avi\t0\nc d.avi\t1\n')
    (folder / 'several.txt').write_text('a.avi 0 1\nb.avi 2\nc.avi\n')
    (folder / 'ucf101_val_split_1_videos.txt').write_text('a b.avi 0\n')
    (folder / 'frames.txt').write_text('folder 30 0\n')
    video = dict(type='CheckedVideoDataset')
    tabs = dict(video, ann_file=str(folder / 'tabs.txt'), delimiter='\t')
    several = dict(video, ann_file=str(folder / 'several.txt'), multi_class=True, num_classes=8)
    return dict(
        tabs=(tabs, 'the list tabs.txt', ''),
        several=(several, 'the list several.txt', ''),
        broken=(
            dict(video, ann_file=str(folder / 'ucf101_val_split_1_videos.txt')),
            'UCF101',
            'ucf101_val_split_1_videos.txt left out: ',
        ),
        frames=(
            dict(type='RawframeDataset', ann_file=str(folder / 'frames.txt')),
            'the list frames.txt',
            '',
        ),
        missing=(dict(video, ann_file='gone.txt'), 'the list gone.txt', ''),
        repeated=(
            dict(
                type='RepeatDataset',
                times=2,
                dataset=dict(type='ClassBalancedDataset', dataset=tabs),
            ),
            'the list tabs.txt',
            '',
        ),
        joined=(
            dict(type='ConcatDataset', datasets=[tabs, several]),
            'the list tabs.txt + the list several.txt',
            '',
        ),
        store=(
            dict(type='CachedFeatureDataset', store=str(folder / 'gone'), split='train'),
            'the list gone',
            '',
        ),
    )


@pytest.mark.slow
@pytest.mark.parametrize(
    'kind', ['tabs', 'several', 'broken', 'frames', 'missing', 'repeated', 'joined', 'store']
)
def test_every_kind_of_list_is_read_or_left_out(tmp_path, kind):
    dataset, name, note = list_kinds(tmp_path)[kind]
    work_dir = write_run(tmp_path / 'a', 5, tested=0.5)
    cfg = Config.fromfile(work_dir / CONFIG)
    cfg.train_dataloader.dataset = cfg.test_dataloader.dataset = dataset
    cfg.dump(work_dir / CONFIG)
    run = read(work_dir)[0]
    assert run.data == name and run.frames == '16x1x1'
    assert any(note in n for n in run.notes)
    assert not any('trained on' in n for n in run.notes)


def test_the_flops_of_a_backbone_that_is_not_known_are_left_out(tmp_path):
    """A gone store leaves the channels of its features, which are no picture's."""
    work_dir = write_run(tmp_path / 'a', 5, tested=0.5)
    cfg = Config.fromfile(work_dir / CONFIG)
    dataset = dict(type='CachedFeatureDataset', store=str(tmp_path / 'gone'), split='test')
    cfg.train_dataloader.dataset = cfg.test_dataloader.dataset = dataset
    cfg.model.backbone = dict(type='PrecomputedFeatures')
    cfg.dump(work_dir / CONFIG)
    run, _ = read_run(work_dir, ROOT / 'configs', lambda cfg: pytest.fail('counted'))
    assert run.flops is None and any('FLOPs left out: no feature store' in n for n in run.notes)


def test_predictions_of_several_labels_give_an_average_precision_per_class(tmp_path):
    work_dir = write_run(tmp_path / 'a', 5, tested=0.5)
    labels = torch.eye(8)[:3] + torch.eye(8)[2]
    scores = torch.tensor([[0.9, 0.1, 0.2], [0.1, 0.8, 0.4], [0.5, 0.9, 0.3]])
    scores = torch.cat([scores, torch.zeros(3, 5)], dim=1)
    samples = [
        dict(gt_label=label.clamp(max=1), pred_score=score) for label, score in zip(labels, scores)
    ]
    (work_dir / 'predictions.pkl').write_bytes(pickle.dumps(samples))
    run, curves = read(work_dir)
    assert run.notes == [] and curves.confusion is None
    # Class 1: its one clip is second by score. Classes without a clip have no precision.
    assert list(run.per_class.values()) == [1, 0.5, 1]


def test_a_run_on_features_counts_as_one_on_its_videos(tmp_path):
    work_dir = write_run(tmp_path / 'videos', 5, tested=0.5)
    videos = Config.fromfile(work_dir / CONFIG)
    write_manifest(tmp_path / 'store', dict(format=FORMAT, config=videos.pretty_text))
    work_dir = write_run(tmp_path / 'features', 5, tested=0.5)
    cfg = Config.fromfile(work_dir / CONFIG)
    for split in ('train', 'val', 'test'):
        cfg[f'{split}_dataloader'].dataset = dict(
            type='CachedFeatureDataset', store=str(tmp_path / 'store'), split=split
        )
    cfg.model.backbone = dict(type='PrecomputedFeatures')
    cfg.model.data_preprocessor = dict(type='FeatureDataPreprocessor')
    cfg.dump(work_dir / CONFIG)
    want, got = (asdict(read(tmp_path / name)[0]) for name in ('videos', 'features'))
    # The config's backbone is trained on videos, and cannot be on features.
    assert got['backbone'] == want['backbone'] + ' (frozen)'
    assert got['notes'] == ['not the config of today: model.backbone.frozen=True']
    same = dict(work_dir='', backbone='', notes=[])
    assert dict(got, **same) == dict(want, **same)


def test_a_training_by_iterations(tmp_path):
    work_dir = write_run(tmp_path / 'a', 3)
    cfg = Config.fromfile(work_dir / CONFIG)
    cfg.train_cfg = dict(type='IterBasedTrainLoop', max_iters=50)
    cfg.dump(work_dir / CONFIG)
    (work_dir / 'last_checkpoint').write_text('/far/iter_30.pth')
    run = read(work_dir)[0]
    assert run.state == '30 of 50 iterations, unfinished'
    assert '30 of 50 iterations' in runs_table([run])


@pytest.mark.parametrize('name', ['absent', ''])
def test_no_run_is_named(tmp_path, name):
    with pytest.raises(FileNotFoundError, match=str(tmp_path / name)):
        read(tmp_path / name)


def test_the_loop_that_the_tools_put_in_is_no_change():
    path = ROOT / 'configs/mobilenet_convlstm_quickstart.py'
    cfg = Config.fromfile(path, import_custom_modules=False)
    cfg.train_cfg.type = 'ExactEpochBasedTrainLoop'
    assert changes(cfg, path, None) == []
    cfg.train_cfg.max_epochs = 77
    assert changes(cfg, path, None) == ['train_cfg.max_epochs=77']


def identify(folder, **facts):
    (folder / 'run_identity.json').write_text(json.dumps(facts))


def test_only_what_belongs_together_is_joined(tmp_path):
    """A second training in the folder, a test of a file written anew, other predictions."""
    work_dir = write_run(tmp_path / 'a', 5, tested=0.5, answers=[(k, k) for k in range(8)])
    identify(work_dir / 'now', run='mine', config_file=CONFIG, recipe='r')
    (work_dir / 'epoch_5.pth').write_bytes(b'weights')
    whole = read(work_dir)[0]
    assert whole.top1 == 0.5 and whole.per_class and whole.run == 'mine'
    sha256 = hashlib.sha256(b'weights').hexdigest()
    facts = dict(checkpoint='epoch_5.pth', checkpoint_sha256=sha256, run='mine')
    identify(work_dir / 'b', **facts)
    other = dict(facts, checkpoint='epoch_4.pth', checkpoint_sha256='4' * 64)
    with (work_dir / 'predictions.pkl').open('ab') as file:
        pickle.dump(other, file)
    run = read(work_dir)[0]
    assert run.top1 == 0.5 and not run.per_class
    assert any('left out' in note and 'epoch_4.pth' in note for note in run.notes)
    identify(work_dir / 'b', **dict(facts, checkpoint_sha256='5' * 64))
    run = read(work_dir)[0]
    assert run.top1 is None
    assert 'test left out: epoch_5.pth was written anew since' in run.notes
    identify(work_dir / 'b', **dict(facts, run='theirs'))
    assert 'test left out: epoch_5.pth is of another training' in read(work_dir)[0].notes

    earlier = work_dir / 'before'
    (earlier / 'vis_data').mkdir(parents=True)
    (earlier / 'vis_data/scalars.json').write_text('{"loss": 9.0, "time": 1.0, "step": 99}\n')
    assert read(work_dir)[0].loss == 9.0  # of an earlier version, which does not say whose it is
    identify(earlier, run='theirs')
    run = read(work_dir)[0]
    assert run.loss == 1 / 50 and '1 log of another training left out' in run.notes
    twin = read(write_run(tmp_path / 'b', 5, tested=0.7, seed=1))[0]
    twin.notes, run.notes = [], []
    assert len(group_runs([run, twin])[run.data]) == 2
    twin.recipe = 'r'
    assert len(group_runs([run, twin])[run.data]) == 1


def test_runs_of_other_lists_or_weights_are_in_no_mean(tmp_path):
    """Seeds, the second of them with load_from, on a list that was written anew, and resumed."""

    def run(name, seed, weights, train='1', sessions=1, **config):
        work_dir = write_run(tmp_path / name, 5, tested=0.5, seed=seed)
        facts = dict(run=name, config_file=CONFIG, recipe='r', lists=dict(train=train))
        identify(work_dir / 'now', **facts, weights=weights, config=config)
        if sessions == 2:
            shutil.copytree(work_dir / 'now', work_dir / 'now2')
            identify(work_dir / 'now2', **facts, weights={}, config={})
        return read(work_dir)[0]

    base = dict(load_from='w/base.pth')
    resumed = run('a', 0, {'base.pth': '8' * 64}, sessions=2, **base)
    same = run('b', 1, {'base.pth': '8' * 64}, **base)
    scratch, newer = run('c', 2, {}), run('d', 3, {}, train='2')
    own = [
        run(f's{k}', k, {'epoch_1.pth': str(k)}, load_from='x/starts_from/epoch_1.pth', **first)
        for k, first in enumerate([dict(starts_from='first.py')] * 2)
    ]
    (rows,) = group_runs([resumed, same, scratch, newer, *own]).values()
    assert [len(row.runs) for row in rows] == [2, 3, 1]
    assert rows[0].notes == ['begins with base.pth (SHA-256 88888888)']
    assert [row.notes for row in rows[1:]] == [[], ['train with other contents']]
    text = cells(results_tables({'': rows}))
    assert [row['note'] for row in text] == [*rows[0].notes, '', 'train with other contents']
    # Splits have other lists; what is not known is equal.
    splits = [result(k, 0, 0.5, made_of=dict(train=str(k))) for k in (1, 2)]
    assert [len(row.runs) for row in group_runs(splits)['UCF101']] == [2]


def test_a_store_counts_by_what_it_was_made_of(tmp_path):
    found = []
    for name, made_by, seed in (('a', '1', 0), ('b', '2', 0), ('c', '1', 1)):
        manifest = dict(format=FORMAT, config=name, made_by=made_by, seed=seed)
        write_manifest(tmp_path / name, manifest)
        data = dict(dataset=dict(type='CachedFeatureDataset', store=str(tmp_path / name)))
        identity = dict(lists=dict(train=name), weights={}, config={})
        cfg = Config(dict(train_dataloader=data))
        found.append(made_of(cfg, dict(identity, first=identity))[0]['train'])
    assert found[0] == found[1] != found[2]


def test_necks_that_differ_have_different_names():
    """A reduced input alone was called light, as depthwise gates are."""
    backbone = dict(type='MobileNetV2')
    full = dict(type='ConvLSTMNeck', hidden_channels=128)
    necks = [
        full,
        full | dict(reduce_channels=64),
        full | dict(reduce_channels=64, residual=True),
        full | dict(gate_conv='depthwise'),
        full | dict(gate_conv='depthwise', reduce_channels=64),
    ]
    assert [model_names(dict(backbone=backbone, neck=neck))['neck'] for neck in necks] == [
        'ConvLSTM 128',
        'ConvLSTM 128 (input reduced to 64)',
        'ConvLSTM 128 (input reduced to 64) residual',
        'light ConvLSTM 128',
        'light ConvLSTM 128 (input reduced to 64)',
    ]
