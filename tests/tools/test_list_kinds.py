"""One list with tabs, blanks in names and a repeated data set, through every tool."""

import json

import pytest
from helpers.list_matrix import around, prepare
from helpers.support import examine_configs_alone, run_tool
from mmengine.config import Config


@pytest.fixture
def config(tmp_path):
    """A config of six videos with blanks in their names, each twice in an epoch."""
    place = prepare('tabs, spaces in names', tmp_path / 'place')
    cfg = Config.fromfile(place.config)
    around(cfg, ['train'], lambda one: dict(type='RepeatDataset', times=2, dataset=one))
    cfg.dump(place.config)
    return place.config


def run(*args):
    done = run_tool(*args)
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


@pytest.mark.slow
def test_a_list_with_tabs_goes_through_every_tool(config, monkeypatch):
    folder = config.parent
    work, checkpoint = folder / 'work', folder / 'work/epoch_1.pth'
    run('tools/train.py', config, '--work-dir', work)
    dump = work / 'any name.pkl'
    run('tools/test.py', config, checkpoint, '--work-dir', work, '--dump', dump)
    said = run('tools/report.py', work, '--configs', folder, '--json', folder / 'results.json')
    assert 'any name.pkl' in said
    (stored,) = json.loads((folder / 'results.json').read_text())['runs']
    assert stored['data'] == 'the list list.txt' and len(stored['per_class']) == 3
    assert stored['notes'] == []
    for tool in ('temporal_probe', 'early_recognition'):
        out = folder / f'{tool}.json'
        run(f'tools/analysis/{tool}.py', config, checkpoint, '--json', out)
        assert out.stat().st_size
    examine_configs_alone(monkeypatch)
    said = run(
        'tools/doctor.py',
        config,
        *('--ann-file', folder / 'list.txt', '--videos', folder / 'videos'),
        *('--delimiter', r'\t', '--json', '--work-dir', folder),
    )
    found = {result['name']: result for result in json.loads(said)}
    assert found[str(folder / 'list.txt')]['found'] == '6 videos, 3 labels from 0 to 2'
    assert 'train: 12' in found[f'files of {config}']['found']


def test_several_labels_are_refused_before_the_analysis(config):
    cfg = Config.fromfile(config)
    cfg.test_dataloader.dataset.update(multi_class=True, num_classes=3)
    cfg.dump(config)
    done = run_tool('tools/analysis/temporal_probe.py', config, 'none.pth')
    assert done.returncode != 0
    assert 'expected one label per video' in done.stderr and 'list.txt' in done.stderr
