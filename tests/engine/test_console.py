"""The console of tools/train.py and tools/test.py: few lines, a bar on terminals, the log in a file."""

import io
import logging
from types import SimpleNamespace

import pytest
import torch
from helpers.support import run_tool
from mmengine.logging import MMLogger
from rich.console import Console

from cnnlstm_mm.console import SHOWN, ConsoleHandler, quiet
from cnnlstm_mm.engine import clip_visualization_hook, console_hook
from cnnlstm_mm.engine.console_hook import ConsoleHook
from cnnlstm_mm.engine.console_text import count_frames
from mmaction.structures import ActionDataSample

CONFIG = 'configs/mobilenetv2_avgpool_quickstart.py'


def arguments(data, work_dir, *more, epochs=1):
    paths = [
        f'{mode}_dataloader.dataset.{key}={data}/{value}'
        for mode, split in (('train', 'train'), ('val', 'val'), ('test', 'val'))
        for key, value in (
            ('ann_file', f'quickstart_{split}_split_1_videos.txt'),
            ('data_prefix.video', 'videos'),
        )
    ]
    workers = [f'{mode}_dataloader.num_workers=0' for mode in ('train', 'val', 'test')]
    options = [*paths, *workers, f'train_cfg.max_epochs={epochs}', 'train_cfg.val_begin=1']
    return ['--work-dir', work_dir, *more, '--cfg-options', *options]


@pytest.fixture(scope='module')
def trained(quickstart_data, tmp_path_factory):
    """Work directory and output of a training with TensorBoard."""
    work_dir = tmp_path_factory.mktemp('work')
    args = arguments(quickstart_data, work_dir, '--log', 'tensorboard')
    done = run_tool('tools/train.py', CONFIG, *args)
    assert done.returncode == 0, done.stderr
    return work_dir, done


def log_of(work_dir):
    return max(work_dir.glob('*/*.log')).read_text()


def test_a_training_prints_a_line_an_epoch(trained):
    work_dir, done = trained
    lines = done.stdout.splitlines()
    assert lines[0].startswith('Training mobilenetv2_avgpool_quickstart: MobileNetV2 + I3DHead, ')
    assert lines[1].startswith('32 clips, batches of 8, epochs 1 to 1 of 4 batches, on cpu')
    (log,) = work_dir.glob('*/*.log')
    assert lines[2] == f'Full log: {log}'
    epochs = [line for line in lines if line.startswith('epoch ')]
    assert [line.split()[1] for line in epochs] == ['1/1']
    for line in epochs:
        words = ('loss ', 'top1_acc ', ' frames/s', ' s  val acc/top1 ')
        assert all(word in line for word in words), line
    assert len(lines) == 4
    assert 'after_train_iter' in log_of(work_dir) and 'Epoch(train) [1][4/4]' in log_of(work_dir)


def test_scalars_go_to_tensorboard(trained):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(next(trained[0].glob('*/vis_data'))))
    events.Reload()
    assert {'loss', 'acc/top1'} <= set(events.Tags()['scalars'])
    assert len(events.Scalars('acc/top1')) == 1


def test_a_missing_service_is_named(quickstart_data, tmp_path, monkeypatch):
    monkeypatch.setattr('cnnlstm_mm.engine.launch.find_spec', lambda name: None)
    args = arguments(quickstart_data, tmp_path, '--log', 'wandb')
    done = run_tool('tools/train.py', CONFIG, *args)
    assert done.returncode == 2 and 'pip install wandb' in done.stderr


def test_verbose_prints_the_log(trained, quickstart_data):
    args = arguments(quickstart_data, trained[0] / 'test')
    done = run_tool('tools/test.py', CONFIG, trained[0] / 'epoch_1.pth', '--verbose', *args)
    assert 'Epoch(test)' in done.stdout and 'after_test_iter' in done.stdout


def test_resuming_says_so_and_other_settings_are_shown(trained, quickstart_data):
    work_dir = trained[0]
    args = arguments(quickstart_data, work_dir, '--resume', epochs=2)
    done = run_tool('tools/train.py', CONFIG, *args)
    assert done.returncode == 0, done.stderr
    assert f'Resumed from {work_dir}/epoch_1.pth' in done.stdout
    assert 'epochs 2 to 2' in done.stdout and 'epoch 2/2' in done.stdout
    assert 'train_cfg.max_epochs: 1 in the checkpoint, 2 now' in done.stdout


@pytest.fixture
def logger(tmp_path):
    logger = MMLogger(f'console {tmp_path}', log_file=str(tmp_path / 'a.log'))
    yield logger
    for handler in logger.handlers:
        handler.close()


def test_what_is_for_people(logger, tmp_path, capsys):
    console = Console(file=io.StringIO(), width=20)
    quiet(logger, console)
    quiet(logger, console)
    logger.info('hook table')
    logger.info('a message [with] %s', 'brackets', extra=SHOWN)
    logger.warning('a long warning of many words for everyone')
    logger.warning('FileClient will be deprecated in future')
    logger.error('an error')
    text = console.file.getvalue()
    assert text.splitlines() == [
        'a message [with] brackets',
        'WARNING: a long warning of many words for everyone',
        'ERROR: an error',
    ]
    assert capsys.readouterr().out == ''
    log = (tmp_path / 'a.log').read_text()
    assert all(
        word in log for word in ('hook table', 'brackets', 'everyone', 'deprecated', 'error')
    )


def test_other_processes_show_errors_alone(logger, capsys):
    logger.handlers[0].setLevel(logging.ERROR)  # as mmengine has it there
    quiet(logger)
    assert sum(isinstance(handler, ConsoleHandler) for handler in logger.handlers) == 1
    logger.info('shown', extra=SHOWN)
    logger.warning('warning')
    logger.error('error')
    assert capsys.readouterr().out == 'ERROR: error\n'


def loop_of(iterations=0):
    return SimpleNamespace(epoch=0, iter=iterations, max_epochs=2, max_iters=8)


@pytest.fixture
def fake(monkeypatch):
    """A Runner with what the hook reads."""
    scalars = {'train/loss': torch.tensor([2.0, 1.0]), 'train/lr': None}
    hub = SimpleNamespace(
        log_scalars=scalars,
        get_scalar=lambda name: SimpleNamespace(mean=lambda window: float(scalars[name].mean())),
    )
    loader = torch.utils.data.DataLoader(range(8), batch_size=2)
    monkeypatch.setattr(console_hook, 'REFRESH', 0.0)
    return SimpleNamespace(
        train_loop=loop_of(),
        train_dataloader=loader,
        val_dataloader=loader,
        model=torch.nn.Linear(2, 2),
        cfg=SimpleNamespace(filename='own.py'),
        logger=SimpleNamespace(log_file='a.log'),
        message_hub=hub,
        _resume=False,
        _load_from=None,
    )


def train(hook, runner, epochs=1):
    batch = dict(inputs=[torch.zeros(1, 3, 5, 4, 4)] * 2)
    hook.before_train(runner)
    for _ in range(epochs):
        hook.before_train_epoch(runner)
        for k in range(4):
            hook.after_train_iter(runner, k, batch, {})
            runner.train_loop.iter += 1
        hook.after_train_epoch(runner)
        runner.train_loop.epoch += 1
        hook.before_val_epoch(runner)
        hook.after_val_iter(runner, 0)
        hook.after_val_epoch(runner, {'acc/top1': 0.25})
    hook.after_train(runner)


def test_a_terminal_has_a_bar(fake):
    console = Console(file=io.StringIO(), force_terminal=True, width=120, legacy_windows=False)
    train(ConsoleHook(console), fake)
    text = console.file.getvalue()
    assert 'epoch 1/2' in text and '4/8' in text and 'loss 1.5' in text and 'frames/s' in text
    assert 'validation' in text and 'val acc/top1 0.2500' in text


def test_a_test_shows_its_metrics(fake):
    for console in (Console(file=io.StringIO()), Console(file=io.StringIO(), force_terminal=True)):
        hook, fake.test_dataloader = ConsoleHook(console), fake.train_dataloader
        fake._load_from = 'a.pth'
        hook.before_test(fake)
        for k in range(4):
            hook.after_test_iter(fake, k)
        hook.after_test_epoch(fake, {'acc/top1': 0.5, 'count': 8})
        lines = console.file.getvalue().splitlines()
        assert lines[:3] == [
            'Testing own: Linear, 6 parameters',
            '8 clips, a.pth, on cpu',
            'Full log: a.log',
        ]
        assert lines[-1].endswith('acc/top1 0.5000  count 8')
        assert (len(lines) == 4) != console.is_terminal


def test_a_finished_training_says_so(fake):
    console = Console(file=io.StringIO())
    fake.train_loop.epoch, fake._resume, fake._load_from = 2, True, 'a.pth'
    ConsoleHook(console).before_train(fake)
    assert 'all 2 done before' in console.file.getvalue()


def test_without_a_terminal_there_is_no_bar(fake):
    console = Console(file=io.StringIO(), width=40)
    train(ConsoleHook(console), fake, epochs=2)
    lines = console.file.getvalue().splitlines()
    assert len(lines) == 5 and '\x1b' not in console.file.getvalue()
    assert [line.split()[1] for line in lines if line.startswith('epoch')] == ['1/2', '2/2']


def test_long_epochs_are_heard_of(fake, monkeypatch):
    monkeypatch.setattr(console_hook, 'PERIOD', -1.0)
    console = Console(file=io.StringIO())
    train(ConsoleHook(console), fake)
    assert console.file.getvalue().count('epoch 1/2  loss 1.5') == 5  # four iterations, one epoch


def test_the_first_process_alone_shows(fake, monkeypatch):
    monkeypatch.setattr(console_hook, 'is_main_process', lambda: False)
    console = Console(file=io.StringIO(), force_terminal=True)
    train(ConsoleHook(console), fake)
    assert console.file.getvalue() == ''


def test_an_error_ends_the_bar(fake):
    console = Console(file=io.StringIO(), force_terminal=True)
    hook = ConsoleHook(console)
    with (
        pytest.raises(RuntimeError, match='broken'),
        console_hook.shown(SimpleNamespace(hooks=[hook])),
    ):
        hook.before_train(fake)
        assert console._live_stack if hasattr(console, '_live_stack') else console._live
        raise RuntimeError('broken')
    assert hook.progress is None
    assert not (console._live_stack if hasattr(console, '_live_stack') else console._live)


def test_frames_of_a_batch():
    clips = [torch.zeros(2, 3, 8, 4, 4), torch.zeros(1, 3, 8, 4, 4)]
    assert count_frames(dict(inputs=clips)) == 24
    assert (
        count_frames(dict(inputs=[torch.zeros(1, 64, 5, 1, 1), torch.zeros(1, 64, 7, 1, 1)])) == 12
    )
    assert count_frames(dict(inputs=torch.zeros(4, 3, 8, 8))) == 12
    assert count_frames(None) == 0


def test_clips_of_one_name_are_drawn_each(tmp_path, monkeypatch):
    """As where each class has a folder of numbered clips."""
    drawn = {}

    def draw(name, clip, sample, out_path, **more):
        assert out_path not in drawn
        drawn[out_path] = sample.filename

    visualizer = SimpleNamespace(add_datasample=draw)
    get = SimpleNamespace(get_current_instance=lambda: visualizer)
    monkeypatch.setattr(clip_visualization_hook, 'Visualizer', get)
    hook = clip_visualization_hook.ClipVisualizationHook(True, interval=1, out_dir='out')
    files = ['data/Jump/1.mp4', 'data/Run/1.mp4', 'data/Run/2.mp4']
    samples = [ActionDataSample(metainfo=dict(filename=name)) for name in files]
    loop = SimpleNamespace(dataloader=SimpleNamespace(batch_size=3))
    batch = dict(inputs=[torch.zeros(1, 3, 2, 4, 4)] * 3)
    for epoch in (1, 2):
        runner = SimpleNamespace(val_loop=loop, epoch=epoch)
        hook.after_val_iter(runner, 0, batch, samples)
    names = ['1.mp4', 'data_Run_1.mp4', '2.mp4']
    wanted = {f'out/{name}_{epoch}': file for epoch in (1, 2) for name, file in zip(names, files)}
    assert drawn == wanted
