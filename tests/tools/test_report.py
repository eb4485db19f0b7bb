"""tools/report.py on work directories written by hand."""
import json

import pytest
from support import ROOT, run_python
from mmengine.config import Config


def write_run(work_dir, epochs, tested=None):
    cfg = Config.fromfile(ROOT / 'configs/mobilenet_convlstm_quickstart.py')
    cfg.train_cfg.max_epochs = 2
    (work_dir / 'now' / 'vis_data').mkdir(parents=True)
    cfg.dump(work_dir / 'config.py')
    lines = []
    for epoch in range(1, epochs + 1):
        for it in (5, 10):
            step = 10 * (epoch - 1) + it
            lines.append(dict(loss=1. / step, time=0.5, epoch=epoch,
                              iter=step, step=step))
        lines.append({'acc/top1': 0.4 * epoch, 'step': epoch})
    log = work_dir / 'now' / 'vis_data' / 'scalars.json'
    log.write_text('\n'.join(map(json.dumps, lines)))
    (work_dir / 'last_checkpoint').write_text(f'epoch_{epochs}.pth')
    if tested is not None:
        for name, value in (('a', 0.1), ('b', tested)):
            (work_dir / name).mkdir()
            (work_dir / name / f'{name}.json').write_text(
                json.dumps({'acc/top1': value}))


def test_table_and_curves(tmp_path):
    write_run(tmp_path / 'whole', epochs=2, tested=0.875)
    write_run(tmp_path / 'killed', epochs=1)
    done = run_python('tools/report.py', tmp_path / 'whole',
                      tmp_path / 'killed', '--plot', tmp_path / 'curves.png')
    assert done.returncode == 0, done.stderr
    rows = [[cell.strip() for cell in line.strip('|').split('|')]
            for line in done.stdout.splitlines() if line.startswith('|')]
    columns = {column: i for i, column in enumerate(rows[0])}
    whole, killed = rows[2:]
    assert whole[columns['top-1 (test)']] == '87.5 %', 'the newest test counts'
    assert whole[columns['epochs']] == '2'
    assert whole[columns['neck']] == 'ConvLSTMNeck'
    assert whole[columns['input']] == '1 x 16 x 64 x 64'
    assert whole[columns['training']] == '10 s'  # 20 iterations of 0.5 s
    assert whole[columns['loss']] == '0.050'
    assert killed[columns['epochs']] == '1 of 2, unfinished'
    assert killed[columns['top-1 (test)']] == 'not tested'
    assert (tmp_path / 'curves.png').read_bytes()[1:4] == b'PNG'


@pytest.mark.parametrize('name', ['absent', ''])
def test_no_run_is_named(tmp_path, name):
    done = run_python('tools/report.py', tmp_path / name)
    assert done.returncode != 0 and str(tmp_path / name) in done.stderr
