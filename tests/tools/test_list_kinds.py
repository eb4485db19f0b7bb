"""One list with tabs, blanks in names and a repeated data set, through every tool."""

import json

import pytest
from helpers.support import ROOT, run_tool
from mmengine.config import Config


@pytest.fixture
def config(quickstart_data, tmp_path):
    """A config of eight videos with blanks in their names."""
    lines = (quickstart_data / 'quickstart_val_split_1_videos.txt').read_text().splitlines()[:8]
    (tmp_path / 'my videos').mkdir()
    rows = []
    for k, line in enumerate(lines):
        name, label = line.split()
        target = tmp_path / 'my videos' / f'clip {k}.avi'
        target.write_bytes((quickstart_data / 'videos' / name).read_bytes())
        rows.append(f'{target.name}\t{label}\n')
    (tmp_path / 'list.txt').write_text(''.join(rows))
    cfg = Config.fromfile(ROOT / 'configs/mobilenet_convlstm_quickstart.py')
    for mode in ('train', 'val', 'test'):
        loader = cfg[f'{mode}_dataloader']
        loader.update(num_workers=0, persistent_workers=False, batch_size=4)
        loader.dataset.update(
            ann_file=str(tmp_path / 'list.txt'),
            data_prefix=dict(video=str(tmp_path / 'my videos')),
            delimiter='\t',
        )
    cfg.train_dataloader.dataset = dict(
        type='RepeatDataset', times=2, dataset=cfg.train_dataloader.dataset
    )
    cfg.train_cfg.max_epochs = 1
    cfg.dump(tmp_path / 'own.py')
    return tmp_path / 'own.py'


def run(*args):
    done = run_tool(*args)
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


def test_a_list_with_tabs_goes_through_every_tool(config):
    folder = config.parent
    work, checkpoint = folder / 'work', folder / 'work/epoch_1.pth'
    run('tools/train.py', config, '--work-dir', work)
    dump = work / 'any name.pkl'
    run('tools/test.py', config, checkpoint, '--work-dir', work, '--dump', dump)
    said = run('tools/report.py', work, '--configs', folder, '--json', folder / 'results.json')
    assert 'any name.pkl' in said
    (stored,) = json.loads((folder / 'results.json').read_text())['runs']
    assert stored['data'] == 'the list list.txt' and len(stored['per_class']) == 8
    assert stored['notes'] == []
    for tool in ('temporal_probe', 'early_recognition'):
        out = folder / f'{tool}.json'
        run(f'tools/analysis/{tool}.py', config, checkpoint, '--json', out)
        assert out.stat().st_size
    said = run(
        'tools/doctor.py',
        config,
        *('--ann-file', folder / 'list.txt', '--videos', folder / 'my videos'),
        *('--delimiter', r'\t', '--json', '--work-dir', folder),
    )
    found = {result['name']: result for result in json.loads(said)}
    assert found[str(folder / 'list.txt')]['found'] == '8 videos, 8 labels from 0 to 7'
    assert 'train: 16' in found[f'files of {config}']['found']


def test_several_labels_are_refused_before_the_analysis(config):
    cfg = Config.fromfile(config)
    cfg.test_dataloader.dataset.update(multi_class=True, num_classes=8)
    cfg.dump(config)
    done = run_tool('tools/analysis/temporal_probe.py', config, 'none.pth')
    assert done.returncode != 0
    assert 'expected one label per video' in done.stderr and 'list.txt' in done.stderr
