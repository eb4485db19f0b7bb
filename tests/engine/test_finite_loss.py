"""A loss or gradient that is no number: stopped or skipped, and told."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch
from helpers.support import ROOT, free_port
from helpers.toy_training import Keep, Toy, runner
from mmengine.config import Config
from mmengine.optim import AmpOptimWrapper

from cnnlstm_mm.engine import FiniteLossHook

NAN, INF = float('nan'), float('inf')
NO_GRADIENT = 7.0  # the loss is finite, its gradient is not


def logged(work_dir):
    return next(Path(work_dir).glob('*/*.log')).read_text()


@pytest.mark.slow
@pytest.mark.parametrize('value', [NAN, INF, NO_GRADIENT])
def test_it_stops_before_the_weights_change(tmp_path, value):
    keep = Keep()
    run = runner(tmp_path, [None, None, None, value, None, None], custom_hooks=[keep])
    with pytest.raises(FloatingPointError) as caught:
        run.train()
    message = str(caught.value)
    assert 'iteration 2 of epoch 1' in message
    assert 'video_2.mp4, label [2]' in message
    assert 'video_3.mp4, label [0]' in message and 'video_4' not in message
    assert ('video_3.mp4, label [0]: its input has NaN' in message) == (value != NO_GRADIENT)
    assert 'finite_loss.action=skip' in message
    # As after the first batch, batch-norm statistics as well.
    assert len(keep.states) == 1
    for name, tensor in run.model.state_dict().items():
        assert torch.equal(tensor, keep.states[0][name]), name

    # The dump gives the same loss once more.
    folder = tmp_path / 'non_finite'
    batch = torch.load(folder / 'iter_2_process_0.pth')
    model = Toy()
    model.load_state_dict(torch.load(folder / batch['model'])['state_dict'])
    loss = model(batch['inputs'], mode='loss')['loss_cls']
    loss.backward()
    assert torch.equal(loss.isfinite(), batch['losses']['loss_cls'].isfinite())
    assert not all(p.grad.isfinite().all() for p in model.parameters())
    assert [int(label) for label in batch['labels']] == [2, 0]


@pytest.mark.parametrize('value', [NAN, NO_GRADIENT])
def test_skipping_is_as_if_the_batch_was_not_there(tmp_path, value):
    values = [None, None, None, value, None, None, None, None]
    skipped = runner(tmp_path / 'skip', values, hook=dict(action='skip'))
    skipped.train()
    without = runner(tmp_path / 'without', values, [0, 1, 4, 5, 6, 7])
    without.train()
    for (name, one), other in zip(
        skipped.model.state_dict().items(), without.model.state_dict().values()
    ):
        assert torch.equal(one, other), name
    log = logged(tmp_path / 'skip')
    assert 'Skipped; 1 in this training so far' in log and 'video_3.mp4' in log
    assert '1 batches were skipped so far' in log
    assert 'were skipped' not in logged(tmp_path / 'without')


def test_skipping_for_ever_stops(tmp_path):
    run = runner(tmp_path, [NAN] * 12, hook=dict(action='skip', max_in_a_row=4, max_dumps=2))
    with pytest.raises(FloatingPointError, match='Skipped batches in a row: 4'):
        run.train()
    assert len(list((tmp_path / 'non_finite').glob('*process_0*'))) == 2


def test_accumulated_gradients_go_with_a_skipped_last_batch(tmp_path):
    wrapper = dict(optimizer=dict(type='SGD', lr=0.1), accumulative_counts=2)
    values = [None, None, None, NAN, None, None, None, None]
    run = runner(tmp_path / 'skip', values, hook=dict(action='skip'), wrapper=dict(wrapper))
    run.train()
    want = runner(
        tmp_path / 'want',
        values,
        [0, 1, 4, 5, 6, 7],
        wrapper=dict(optimizer=dict(type='SGD', lr=0.1)),
    )
    want.optim_wrapper = want.build_optim_wrapper(want.optim_wrapper)
    # By hand: forward of batch 0 for its statistics, step of 2 and 3.
    model = want.model
    batches = [batch['inputs'] for batch in want.build_dataloader(want._train_dataloader)]
    model.train()
    model(batches[0], mode='loss')
    model.zero_grad()
    for batch in batches[1:]:
        (model(batch, mode='loss')['loss_cls'] / 2).backward()
    want.optim_wrapper.optimizer.step()
    for (name, one), other in zip(run.model.state_dict().items(), model.state_dict().values()):
        torch.testing.assert_close(one, other, msg=name)


def test_infinite_gradients_are_the_business_of_a_grad_scaler(tmp_path):
    """Its first steps overflow and are left out, which is how it works."""
    run = runner(tmp_path, [None] * 16)
    wrapper = AmpOptimWrapper.__new__(AmpOptimWrapper)  # it asks for CUDA
    super(AmpOptimWrapper, wrapper).__init__(torch.optim.SGD(run.model.parameters(), lr=1e-4))
    wrapper.loss_scaler = torch.amp.GradScaler('cpu', init_scale=2.0**126, backoff_factor=2.0**-10)
    wrapper._scale_update_param = wrapper.cast_dtype = None
    run.optim_wrapper = wrapper
    run.model.fc.weight.data *= 1000  # for gradients that overflow
    before = {k: v.clone() for k, v in run.model.state_dict().items()}
    run.train()
    assert wrapper.loss_scaler.get_scale() < 2.0**126
    after = run.model.state_dict()
    assert not torch.equal(before['fc.weight'], after['fc.weight'])
    assert all(value.isfinite().all() for value in after.values())


def test_scores_of_a_test_must_be_numbers(tmp_path):
    run = runner(tmp_path, [None, None])
    hook = next(h for h in run.hooks if isinstance(h, FiniteLossHook))
    batch = next(iter(run.build_dataloader(run._train_dataloader)))
    with torch.no_grad():
        outputs = run.model(**batch, mode='predict')
    hook.after_test_iter(run, 0, batch, outputs)
    outputs[1].pred_score[0] = NAN
    for after in (hook.after_test_iter, hook.after_val_iter):
        with pytest.raises(FloatingPointError, match='video_1.mp4') as caught:
            after(run, 0, batch, outputs)
        assert 'video_0' not in str(caught.value)
    run.model.fc.weight.data[0] = INF
    with pytest.raises(FloatingPointError, match='already: fc.weight'):
        hook.after_test_iter(run, 0, batch, outputs)


@pytest.mark.slow
def test_two_processes_agree(tmp_path, forks):
    done = subprocess.run(
        [
            sys.executable,
            '-m',
            'torch.distributed.run',
            '--nproc-per-node=2',
            f'--master-port={free_port()}',
            'tests/helpers/toy_training.py',
            tmp_path,
        ],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    for action in ('stop', 'skip'):
        place = tmp_path / action
        one, other = (torch.load(place / f'end_{k}.pth') for k in (0, 1))
        assert torch.equal(one['fc.weight'], other['fc.weight'])
        assert all(value.isfinite().all() for value in one.values())
        raised = [place / f'raised_{k}' for k in (0, 1)]
        assert all(path.exists() == (action == 'stop') for path in raised)
        for k in (0, 1):
            assert (place / f'non_finite/iter_1_process_{k}.pth').exists()
    stopped = tmp_path / 'stop'
    assert 'video_2.mp4' not in (stopped / 'raised_0').read_text()
    assert 'video_2.mp4' in (stopped / 'raised_1').read_text()


@pytest.mark.parametrize(
    'options', [dict(action='ignore'), dict(max_in_a_row=0), dict(max_dumps='3')]
)
def test_wrong_options_are_named(options):
    with pytest.raises(ValueError, match=next(iter(options))):
        FiniteLossHook(**options)


def test_every_schedule_clips_gradients():
    for path in (ROOT / 'configs/_base_/schedules').glob('*.py'):
        assert Config.fromfile(path).optim_wrapper.clip_grad.max_norm > 0, path
    hooks = Config.fromfile(ROOT / 'configs/_base_/default_runtime.py').default_hooks
    assert hooks.finite_loss == dict(type='FiniteLossHook', action='stop')


def test_a_model_without_buffers(tmp_path):
    run = runner(tmp_path, [None, NAN])
    run.model.norm = torch.nn.Identity()
    with pytest.raises(FloatingPointError, match='video_1.mp4'):
        run.train()
