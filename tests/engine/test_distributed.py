"""Several processes train, test and resume as one does."""

import os
import pickle
import signal
import subprocess
import time

import pytest
import torch
from helpers.distributed_jobs import JOBS, restartable_config
from helpers.support import ROOT, free_port, run_python
from mmengine.config import Config

from cnnlstm_mm.engine.launch import check_sync_bn

pytestmark = pytest.mark.slow


@pytest.fixture(scope='module')
def results(tmp_path_factory, forks):
    """What each job returned, by its name and number of processes."""
    out = tmp_path_factory.mktemp('jobs')
    code = 'from helpers.distributed_jobs import main; main()'
    done = run_python('-c', code, out, env=dict(PYTHONPATH=f'{ROOT}:{ROOT / "tests"}'))
    assert done.returncode == 0, (done.stdout + done.stderr)[-3000:]
    return {
        (job.__name__, processes): pickle.loads(
            (out / f'{job.__name__}_{processes}.pkl').read_bytes()
        )
        for processes, job in JOBS
    }


def assert_same_training(got, want, iterations=12):
    """Losses within 1e-5, relative, and weights that moved as far."""
    assert len(got['outputs']) == len(want['outputs']) == iterations
    for one, two in zip(got['outputs'], want['outputs']):
        assert two and {name: one[name] for name in two} == pytest.approx(two, rel=1e-5)
    for name, weight in want['weights'].items():
        torch.testing.assert_close(got['weights'][name], weight, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize('job', ['necks', 'ragged_necks'])
@pytest.mark.parametrize('processes', [2, 4])
def test_losses_are_those_of_one_process(results, job, processes):
    """41 samples in batches of 8: the last of an epoch holds one sample."""
    assert_same_training(results[job, processes], results[job, 1])


def test_random_numbers_of_each_process_are_those_of_a_plain_loop(results):
    assert_same_training(results['random_necks', 2], results['random_necks_by_hand', 1])


def test_fixed_batch_norm_trains_as_one(results):
    assert_same_training(results['frozen_backbone', 4], results['frozen_backbone', 1])


def test_sharded_parameters_train_as_one(results):
    """FSDP on CPUs; each process writes a part of the checkpoint."""
    assert_same_training(results['sharded', 2], results['sharded', 1])
    assert results['sharded', 2]['files'] == ['rank0.pth', 'rank1.pth']


def test_an_unused_parameter_is_an_error(results):
    """So the trainings above show that the necks have none."""
    assert 'parameters that were not used' in results['unused', 2]


@pytest.mark.parametrize('processes', [1, 2])
def test_accumulated_gradients_are_those_of_the_whole_batch(results, processes):
    whole, halves = results['accumulation', processes]
    pairs = zip(halves['losses'][::2], halves['losses'][1::2])
    halves['outputs'] = [dict(loss=(one + two) / 2) for one, two in pairs]
    whole['outputs'] = [dict(loss=loss) for loss in whole['losses']]
    assert_same_training(halves, whole)


def test_every_test_video_counts_once(results):
    one, four = results['test_set', 1], results['test_set', 4]
    assert four['names'] == list(range(101))
    assert four == one


@pytest.mark.parametrize('processes', [1, 2, 4])
def test_resumed_in_the_middle_with_the_same_bits(results, processes):
    """An epoch has 6 iterations, and 2 make an update: iteration 9 is in the
    middle of both, and batch norms differ between the processes."""
    result = results['resumed', processes]
    whole, resumed = result['whole'], result['resumed']
    assert len(result['stored']) == processes
    assert all(state['grads'] for state in result['stored'])
    if processes > 1:
        mean = next(n for n in result['stored'][0]['buffers'] if n.endswith('running_mean'))
        one, two = (state['buffers'][mean] for state in result['stored'][:2])
        assert not torch.equal(one, two)
    assert resumed['losses'] == whole['losses'][9:]
    for name, weight in whole['weights'].items():
        assert torch.equal(resumed['weights'][name], weight), name


def test_a_lost_process_is_started_again(results, tmp_path, forks):
    """One of two is killed under torchrun; the end is that of the run
    without."""
    work = tmp_path / 'work'
    cfg = restartable_config(2, work, 'helpers.restarted_rank')
    cfg.log_level = 'INFO'
    cfg.dump(tmp_path / 'config.py')
    env = dict(
        os.environ,
        PYTHON=str(forks),
        PYTHONPATH=f'{ROOT}:{ROOT / "tests"}',
        PIDS=str(tmp_path),
        OMP_NUM_THREADS='1',
        MAX_RESTARTS='1',
        PORT=str(free_port()),
    )
    command = ['bash', 'tools/dist_train.sh', tmp_path / 'config.py', '2', '--work-dir', work]
    with (tmp_path / 'output.txt').open('w') as output:
        launcher = subprocess.Popen(command, cwd=ROOT, env=env, stdout=output, stderr=output)
    while not (work / 'iter_8.pth').exists():
        assert launcher.poll() is None, (tmp_path / 'output.txt').read_text()[-3000:]
        time.sleep(0.01)
    os.kill(int((tmp_path / '1_0').read_text()), signal.SIGKILL)
    assert launcher.wait(300) == 0, (tmp_path / 'output.txt').read_text()[-3000:]
    assert (tmp_path / '1_1').exists()
    logs = sorted(work.glob('*/*.log'))
    assert len(logs) == 2
    assert 'Load checkpoint from' in logs[1].read_text()
    last = torch.load(work / 'iter_24.pth', weights_only=True)
    for name, weight in results['restartable', 2]['weights'].items():
        assert torch.equal(last['state_dict'][name], weight), name


@pytest.mark.parametrize('persistent', [True, False])
def test_memory_files_and_threads_are_flat(results, persistent):
    epochs = results['resources', 1][not persistent]
    assert len(epochs) == 6
    assert epochs[0]['worker_files'] > 0 or not persistent
    for name in ('files', 'threads', 'processes', 'worker_files'):
        assert len({epoch[name] for epoch in epochs[1:]}) == 1, name
    for name in ('peak_mb', 'worker_mb'):
        assert epochs[-1][name] < epochs[1][name] + 4, name


def test_sync_bn_without_cuda_says_what_to_do():
    if torch.cuda.is_available():
        pytest.skip('this machine has CUDA, where SyncBN works')
    check_sync_bn(Config(dict(sync_bn='torch', launcher='none')))
    with pytest.raises(ValueError, match='sync_bn.*CUDA.*GroupNorm'):
        check_sync_bn(Config(dict(sync_bn='torch', launcher='pytorch')))
