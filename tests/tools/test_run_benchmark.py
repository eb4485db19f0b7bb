"""tools/run_benchmark.py: what it runs, skips, resumes and reports.

Most tests put small stand-ins in the place of tools/train.py and test.py, to
see what is called; one trains and tests for real.
"""

import json
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
from helpers.support import ROOT, run_tool
from rich.console import Console

from cnnlstm_mm.config import read_config
from cnnlstm_mm.lab.benchmark import (
    Launch,
    commands,
    execute,
    fold_table,
    plan_runs,
    read_benchmark,
    read_state,
)
from cnnlstm_mm.lab.benchmark import commands as commands_module
from cnnlstm_mm.lab.benchmark.folds import Fold, group_of, make_folds

TOOL = 'tools/run_benchmark.py'
CONFIG = 'configs/mobilenetv2_avgpool_quickstart.py'
TRAIN = """
import os, sys, time
from pathlib import Path
work = Path(sys.argv[sys.argv.index('--work-dir') + 1])
last = work / 'last_checkpoint'
done = int(Path(last.read_text()).stem[6:]) if last.exists() else 0
with open(work / 'calls', 'a') as calls:
    print('train from', done, *sys.argv[1:], file=calls)
for epoch in range(done + 1, 6):
    if (work.parent / 'fail').exists() and 'seed1' in work.name:
        sys.exit('the disk is full')
    (work / f'epoch_{epoch}.pth').write_text('')
    last.write_text(str(work / f'epoch_{epoch}.pth'))
    while (work.parent / 'hang').exists() and epoch == 3:
        time.sleep(.05)
"""
TEST = """
import sys
from pathlib import Path
work = Path(sys.argv[sys.argv.index('--work-dir') + 1])
with open(work / 'calls', 'a') as calls:
    print('test', *sys.argv[1:], file=calls)
Path(sys.argv[sys.argv.index('--dump') + 1]).write_text('')
"""


@pytest.fixture
def stand_ins(tmp_path, monkeypatch):
    tools = tmp_path / 'tools'
    tools.mkdir()
    (tools / 'train.py').write_text(TRAIN)
    (tools / 'test.py').write_text(TEST)
    # The package's name for the module is taken by the function.
    monkeypatch.setattr(sys.modules['cnnlstm_mm.lab.benchmark.commands'], 'TOOLS', tools)
    monkeypatch.chdir(ROOT)
    return tools


MINE = f"""configs: [{CONFIG}]
seeds: [0, 1, 2]
cfg_options: {{train_cfg.max_epochs: 5}}"""


def write_list(tmp_path, text=MINE):
    path = tmp_path / 'mine.yml'
    path.write_text(text)
    return path


def planned(tmp_path, **kwargs):
    return plan_runs(read_benchmark(write_list(tmp_path)), tmp_path / 'out', **kwargs)


def calls(run):
    return (run.work_dir / 'calls').read_text().splitlines()


def quiet():
    return Console(quiet=True)


def test_every_run_is_trained_and_tested_once(stand_ins, tmp_path):
    runs = planned(tmp_path, cfg_options={'a.b': 3})
    assert [o.words for o in execute(runs, Launch(), 2, None, quiet())] == ['done'] * 3
    for seed, run in enumerate(runs):
        train, test = calls(run)
        assert train.startswith(
            f'train from 0 {CONFIG} --resume --seed {seed} --work-dir {run.work_dir}'
        )
        assert test.startswith(f'test {CONFIG} {run.work_dir}/epoch_5.pth')
        assert train.endswith('--cfg-options train_cfg.max_epochs=5 a.b=3')
    outcomes = execute(runs, Launch(), 1, None, quiet())
    assert [o.words for o in outcomes] == ['was done'] * 3
    assert len(calls(runs[0])) == 2, 'a finished run must not be repeated'


def test_one_failed_run_stops_no_other(stand_ins, tmp_path):
    runs = planned(tmp_path)
    (tmp_path / 'out/mine').mkdir(parents=True)
    (tmp_path / 'out/mine/fail').touch()
    outcomes = execute(runs, Launch(), 1, None, quiet())
    assert [o.words for o in outcomes] == ['done', 'failed', 'done']
    assert outcomes[1].error == 'the disk is full'
    assert 'the disk is full' in outcomes[1].log.read_text()
    (tmp_path / 'out/mine/fail').unlink()
    outcomes = execute(runs, Launch(), 1, None, quiet())
    assert [o.words for o in outcomes] == ['was done', 'done', 'was done']


@pytest.mark.slow
def test_a_killed_benchmark_goes_on(stand_ins, tmp_path, forks):
    path = write_list(tmp_path)
    (tmp_path / 'out/mine').mkdir(parents=True)
    (tmp_path / 'out/mine/hang').touch()
    code = f"""
import sys
from pathlib import Path
import cnnlstm_mm.lab.benchmark as b
sys.modules['cnnlstm_mm.lab.benchmark.commands'].TOOLS = Path({str(stand_ins)!r})
runs = b.plan_runs(b.read_benchmark(Path({str(path)!r})),
                   Path({str(tmp_path / 'out')!r}))
b.stop_on_signals()
print([o.words for o in b.execute(runs, b.Launch())])
"""
    process = subprocess.Popen(
        [sys.executable, '-c', code], cwd=ROOT, stdout=subprocess.PIPE, text=True
    )
    third = tmp_path / 'out/mine' / f'{Path(CONFIG).stem}_seed0/epoch_3.pth'
    while not third.exists():
        assert process.poll() is None
        time.sleep(0.05)
    process.terminate()
    out, _ = process.communicate(timeout=60)
    assert "['stopped', 'stopped', 'stopped']" in out
    runs = planned(tmp_path)
    assert read_state(runs[0]).words(runs[0]) == '3 of 5 epochs'
    (tmp_path / 'out/mine/hang').unlink()
    assert [o.words for o in execute(runs, Launch(), 1, None, quiet())] == ['done'] * 3
    assert [line.split(' --')[0] for line in calls(runs[0])][1] == f'train from 3 {CONFIG}'


@pytest.mark.parametrize(
    'other', [dict(cfg_options={'model.cls_head.num_classes': 4}), dict(flags=['--amp'])]
)
def test_other_settings_are_not_mixed_into_a_run(stand_ins, tmp_path, other):
    execute(planned(tmp_path)[:1], Launch(), 1, None, quiet())
    changed = planned(tmp_path, **other)
    (outcome,) = execute(changed[:1], Launch(), 1, None, quiet())
    assert outcome.words == 'failed' and '--work-root' in outcome.error
    assert len(calls(changed[0])) == 2


def test_nested_options_of_a_list_reach_the_commands(tmp_path, monkeypatch):
    monkeypatch.chdir(ROOT)
    text = f'configs: [{CONFIG}]\ncfg_options: {{model: {{neck: {{hidden_channels: 8}}}}}}'
    (run,) = plan_runs(read_benchmark(write_list(tmp_path, text)), tmp_path / 'out')
    assert 'model.neck.hidden_channels=8' in commands(run, Launch())[0]


def test_splits_seeds_and_launchers(tmp_path, monkeypatch):
    monkeypatch.chdir(ROOT)
    path = write_list(tmp_path, ('configs: [configs/mobilenetv2_lstm_ucf101.py]\nsplits: [1, 3]\n'))
    runs = plan_runs(read_benchmark(path), Path('w'), seeds=[4, 5])
    assert [str(run.work_dir) for run in runs] == [
        f'w/mine/mobilenetv2_lstm_ucf101_split{split}_seed{seed}'
        for seed in (4, 5)
        for split in (1, 3)
    ]
    assert len({run.fingerprint for run in runs}) == 4
    lists = read_config(runs[1].config, 3).test_dataloader.dataset.ann_file
    assert 'split_3' in lists
    train, _ = commands(runs[1], Launch('pytorch', 8, train_flags=('--amp',)))
    assert train[1:6] == [
        '-m',
        'torch.distributed.run',
        '--standalone',
        '--nproc_per_node=8',
        str(commands_module.__globals__['TOOLS'] / 'train.py'),
    ]
    assert train[-1] == 'split=3' and '--amp' in train
    assert train[train.index('--launcher') + 1] == 'pytorch'
    train, _ = commands(runs[1], Launch('slurm', 8, 'part'))
    assert train[2:5] == ['part', runs[1].work_dir.name, str(runs[1].config)]


@pytest.mark.parametrize(
    'text, words',
    [
        ('seeds: [0]', 'expected a list "configs:"'),
        (f'configs: [{CONFIG}]\nseed: 3', "got 'seed'"),
        (f'configs: [{CONFIG}]\ncfg_options: 3', 'expected cfg_options'),
        (f'configs: [{CONFIG}]\nseeds: 3', 'expected seeds to be a list'),
        (f'configs: [{CONFIG}, {CONFIG}]', 'twice'),
        ('configs: [configs/absent.py]', 'configs/absent.py'),
        (f'configs: [{CONFIG}]\nsplits: [1, 2]', 'expected a config with splits'),
    ],
)
def test_what_a_list_cannot_say(tmp_path, monkeypatch, text, words):
    monkeypatch.chdir(ROOT)
    path = write_list(tmp_path, text)
    with pytest.raises((ValueError, FileNotFoundError), match=words) as info:
        plan_runs(read_benchmark(path), tmp_path)
    assert 'mine.yml' in str(info.value) or CONFIG in str(info.value)


@pytest.mark.parametrize(
    'path', sorted((ROOT / 'configs/benchmarks').glob('*.yml')), ids=lambda p: p.stem
)
def test_the_lists_of_the_repository(path, monkeypatch):
    monkeypatch.chdir(ROOT)
    listed = read_benchmark(path)  # all of its configs are there
    some = replace(listed, configs=listed.configs[::8])
    assert len(plan_runs(some, Path('w'))) == len(some.configs) * len(some.seeds) * max(
        1, len(some.splits)
    )


@pytest.mark.slow
def test_a_real_run_and_its_report(tmp_path, quickstart_data, forks):
    path = write_list(
        tmp_path,
        json.dumps(
            dict(
                configs=[CONFIG],
                cfg_options={
                    f'{mode}_dataloader.{key}': value
                    for mode, part in (('train', 'train'), ('val', 'val'), ('test', 'val'))
                    for key, value in {
                        'num_workers': 0,
                        'persistent_workers': False,
                        'dataset.ann_file': str(
                            quickstart_data / f'quickstart_{part}_split_1_videos.txt'
                        ),
                        'dataset.data_prefix.video': str(quickstart_data / 'videos'),
                    }.items()
                }
                | {'train_cfg.max_epochs': 1},
            )
        ),
    )
    root = tmp_path / 'out'
    dry = run_tool(TOOL, path, '--work-root', root, '--dry-run')
    assert dry.returncode == 0 and 'to do' in dry.stdout, dry.stderr
    done = run_tool(TOOL, path, '--work-root', root)
    assert done.returncode == 0, done.stdout + done.stderr
    assert '1 done' in done.stdout
    (run,) = json.loads((root / 'results.json').read_text())['runs']
    assert run['epochs'] == run['max_epochs'] == 1 and run['top1'] is not None
    # 4 and 2 scenes instead of 160 and 40, in one epoch instead of five.
    assert run['notes'][:2] == ['subset: 32 of 1280 train clips', 'subset: 16 of 320 test clips']
    assert 'max_epochs=1' in run['notes'][2]
    assert (root / 'report.html').is_file()


def test_a_training_by_iterations(tmp_path):
    config = tmp_path / 'by_iterations.py'
    config.write_text(
        f"_base_ = ['{ROOT / CONFIG}']\n"
        "train_cfg = dict(_delete_=True, type='IterBasedTrainLoop', max_iters=40)\n"
    )
    (run,) = plan_runs(read_benchmark(write_list(tmp_path, f'configs: [{config}]')), tmp_path)
    assert (run.length, run.unit) == (40, 'iter')
    assert str(run.work_dir / 'iter_40.pth') in commands(run, Launch())[1]
    run.work_dir.mkdir(parents=True)
    (run.work_dir / 'last_checkpoint').write_text('iter_20.pth')
    (run.work_dir / 'iter_20.pth').write_text('')
    assert read_state(run).words(run) == '20 of 40 iterations'
    config.write_text(f"_base_ = ['{ROOT / CONFIG}']\ntrain_cfg = dict(_delete_=True)\n")
    with pytest.raises(ValueError, match='max_epochs or max_iters'):
        plan_runs(read_benchmark(tmp_path / 'mine.yml'), tmp_path)


def test_folds_keep_groups_together_and_cover_the_list(stand_ins, tmp_path):
    names = [f'{kind}/{kind}_{group:02d}.mp4' for kind in ('up', 'down') for group in range(1, 8)]
    lines = [f'{name} {k // 7}' for k, name in enumerate(names)]
    (tmp_path / 'train.txt').write_text('\n'.join([*lines[:7], '', *lines[7:]]) + '\n')
    options = {
        'train_dataloader.dataset.ann_file': str(tmp_path / 'train.txt'),
        'train_dataloader.dataset.data_prefix.video': 'here',
    }
    runs = planned(tmp_path, cfg_options=options, seeds=[4], folds=3)
    assert len({run.work_dir for run in runs}) == 3 == len({run.fingerprint for run in runs})
    tested = []
    for run in runs:
        train = read_config(run.config, cfg_options=run.cfg_options).train_dataloader.dataset
        test = read_config(run.config, cfg_options=run.cfg_options).test_dataloader.dataset
        assert test.data_prefix.video == train.data_prefix.video == 'here'
        held = Path(test.ann_file).read_text().split('\n')
        kept = Path(train.ann_file).read_text().split('\n')
        assert sorted(filter(None, held + kept)) == sorted(lines)
        groups = [{line[-8:-6] for line in part if line} for part in (held, kept)]
        assert not groups[0] & groups[1]
        assert run.fold.clips == len([line for line in held if line]) in (4, 6)
        tested += held
    assert sorted(filter(None, tested)) == sorted(lines)
    with pytest.raises(ValueError, match='from 2 to 7 folds for 7 groups.*got 8'):
        planned(tmp_path, cfg_options=options, folds=8)


@pytest.mark.parametrize('features', [None, 'store'])
def test_folds_are_held_back_from_the_first_of_two_trainings(tmp_path, features):
    """Else the second would start from weights that know the clips it is tested on."""
    lines = [f'up/up_{group:02d}.mp4 {group % 2}' for group in range(6)]
    (tmp_path / 'train.txt').write_text('\n'.join(['', *lines]) + '\n')
    drawn = dict(type='DrawnGestureDataset', length=8)
    listed = dict(type='CheckedVideoDataset', ann_file=str(tmp_path / 'train.txt'))
    for name, dataset, more in (
        ('first', listed, ''),
        ('drawn', drawn, ''),
        ('second', listed, "starts_from = 'first.py'\n"),
        ('after_drawn', listed, "starts_from = 'drawn.py'\n"),
    ):
        loaders = f'train_dataloader = val_dataloader = test_dataloader = dict(dataset={dataset})\n'
        (tmp_path / f'{name}.py').write_text(f'features = {features!r}\n{loaders}{more}')

    def options(name, **given):
        path = tmp_path / f'{name}.py'
        cfg = read_config(path, cfg_options=given)
        return [fold.cfg_options for fold in make_folds(cfg, path, tmp_path / 'out', 3)]

    alone = options('first')
    if features:
        rows = [[fold[f'feature_rows.{part}'] for part in ('train', 'test')] for fold in alone]
        assert [sorted(kept + held) for kept, held in rows] == [list(range(6))] * 3
        assert sorted(held for _, part in rows for held in part) == list(range(6))
    first = {f'first_options.{key}': value for key, value in alone[0].items()}
    assert options('second')[0] == alone[0] | first
    assert options('after_drawn') == alone == options('second', load_from='weights.pth')


def test_groups_of_names():
    assert group_of('Archery/v_Archery_g08_c01.avi') == '08'
    assert group_of('tick/tick_21.mp4') == '21'
    assert group_of('videos/fall.mp4') == 'fall'
    assert group_of('a/anna_walks_3.avi', '^[a-z]+') == 'anna'


def test_folds_are_averaged_over_clips_and_seeds():
    first, second = Fold(1, 30, {}), Fold(2, 10, {})
    rows = fold_table(
        [
            ('one', 0, first, 0.5),
            ('one', 0, second, 0.7),
            ('one', 1, first, 0.9),
            ('two', 0, first, 0.1),
            ('one', 1, second, 0.3),
        ]
    )
    assert [row['config'] for row in rows] == ['one', 'two']
    assert rows[0]['clips'] == 40 and rows[0]['seeds'] == 2
    assert rows[0]['top1'] == pytest.approx((22 / 40 + 30 / 40) / 2)
    assert rows[0]['spread'] == pytest.approx(abs(22 - 30) / 40 / 2**0.5)
    assert rows[1]['spread'] is None
