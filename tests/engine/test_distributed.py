"""Several processes train, test and resume as one does."""
import pickle
import random
from pathlib import Path

import pytest
import torch
from distributed_jobs import JOBS, NECKS, RANDOM_NECKS
from mmengine.config import Config
from support import ROOT, run_python

from cnnlstm_mm.launch import check_sync_bn


@pytest.fixture(scope='module')
def results(tmp_path_factory):
    """What each job returned, by its name and number of processes."""
    out = tmp_path_factory.mktemp('jobs')
    port = random.randint(20000, 60000)
    done = run_python(Path(__file__).with_name('distributed_jobs.py'), out,
                      port, env=dict(PYTHONPATH=str(ROOT)))
    assert done.returncode == 0, (done.stdout + done.stderr)[-3000:]
    return {(job.__name__, processes): pickle.loads(
        (out / f'{job.__name__}_{processes}.pkl').read_bytes())
        for processes, job in JOBS}


def assert_same_training(got, want, losses=20):
    """Losses within 1e-5, relative, and weights that moved as far."""
    assert len(got['losses']) == len(want['losses']) >= losses
    assert got['losses'] == pytest.approx(want['losses'], rel=1e-5)
    for name, weight in want['weights'].items():
        torch.testing.assert_close(got['weights'][name], weight, rtol=1e-4,
                                   atol=1e-5)


@pytest.mark.parametrize('name', NECKS)
@pytest.mark.parametrize('processes', [2, 4])
def test_losses_are_those_of_one_process(results, name, processes):
    """41 samples in batches of 8: the last of an epoch holds one sample."""
    assert_same_training(results['necks', processes][name],
                         results['necks', 1][name])


@pytest.mark.parametrize('name', RANDOM_NECKS)
def test_random_numbers_of_each_process_are_those_of_a_plain_loop(
        results, name):
    assert_same_training(results['random_necks', 2][name],
                         results['random_necks_by_hand', 1][name])


def test_fixed_batch_norm_trains_as_one(results):
    assert_same_training(results['frozen_backbone', 4],
                         results['frozen_backbone', 1], 12)


def test_an_unused_parameter_is_an_error(results):
    """So the trainings above show that the necks have none."""
    assert 'parameters that were not used' in results['unused', 2]


@pytest.mark.parametrize('processes', [1, 2])
def test_accumulated_gradients_are_those_of_the_whole_batch(
        results, processes):
    whole, halves = results['accumulation', processes]
    losses = halves.pop('losses')
    halves['losses'] = [(one + two) / 2
                        for one, two in zip(losses[::2], losses[1::2])]
    assert_same_training(halves, whole, 12)


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
        mean = [name for name in result['stored'][0]['buffers']
                if name.endswith('running_mean')][0]
        one, two = (state['buffers'][mean] for state in result['stored'][:2])
        assert not torch.equal(one, two)
    assert resumed['losses'] == whole['losses'][9:]
    for name, weight in whole['weights'].items():
        assert torch.equal(resumed['weights'][name], weight), name


def test_sync_bn_without_cuda_says_what_to_do():
    if torch.cuda.is_available():
        pytest.skip('this machine has CUDA, where SyncBN works')
    check_sync_bn(Config(dict(sync_bn='torch', launcher='none')))
    with pytest.raises(ValueError, match='sync_bn.*CUDA.*GroupNorm'):
        check_sync_bn(Config(dict(sync_bn='torch', launcher='pytorch')))
