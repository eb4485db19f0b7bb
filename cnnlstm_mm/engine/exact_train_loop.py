"""Epoch-based training that resumes bit-exactly from any iteration."""

from collections.abc import Sequence
from typing import Any

import torch
from mmengine.dist import all_reduce, get_rank, get_world_size
from mmengine.runner import EpochBasedTrainLoop, Runner

from cnnlstm_mm.datasets.resumable_loader import resumable
from cnnlstm_mm.datasets.seeding import seed_everything
from mmaction.registry import LOOPS

from .rank_states import warm_up_ddp


@LOOPS.register_module()
class ExactEpochBasedTrainLoop(EpochBasedTrainLoop):
    """mmengine's EpochBasedTrainLoop with reproducible steps.

    - All random numbers are functions of seed and position: a sample's augmentation of epoch and
      index, the model's (dropout, ``carry_prob``) of iteration and process. Workers, validation
      and restarts change none of them, and no random state has to be stored.
    - A checkpoint of the middle of an epoch resumes there, without reading the samples before it.
    - A validation that was due when the run was killed is made up for.
    - N processes train as one with the batch of all of them: the samples that fill the last batch
      do not count twice, and losses and accuracies in the log are means over all processes.

    It takes the arguments of ``EpochBasedTrainLoop`` and works with
    :class:`VerifiedCheckpointHook`.
    """

    def __init__(self, runner: Runner, dataloader: Any, **kwargs: Any) -> None:
        super().__init__(runner, dataloader, **kwargs)
        self.dataloader = resumable(self.dataloader)
        self._batches: Any = self.dataloader.batch_sampler
        self._done = 0
        self._in_step = False
        self._validated = 0
        self._validation_pending = False
        self._warmed_up = False

    @property
    def max_iters(self) -> int:
        """Iterations at the end, also where epochs before a resume had another length."""
        before = self._iter - (self._done - self._in_step)
        return before + (self._max_epochs - self._epoch) * len(self.dataloader)

    def state_dict(self, epoch: int) -> dict[str, Any]:
        """Position of the training, in numbers alone.

        Args:
            epoch: The epoch that the checkpoint resumes with.
        """
        return dict(
            samples=self._done * self._batches.global_batch if epoch == self._epoch else 0,
            global_batch=self._batches.global_batch,
            processes=get_world_size(),
            length=len(self.dataloader),
            sampler_seed=getattr(self.dataloader.sampler, 'seed', None),
            validated=self._validated,
        )

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Resume from a :meth:`state_dict`."""
        self._done = state['samples'] // self._batches.global_batch
        self._validated = state['validated']
        self._validation_pending = state['samples'] == 0
        if state['sampler_seed'] is not None:
            self.dataloader.sampler.seed = state['sampler_seed']
        before = state['processes'], state['global_batch'], state['length']
        now = (get_world_size(), self._batches.global_batch, len(self.dataloader))
        if before != now:
            self.runner.logger.warning(
                'The checkpoint was written by {} processes with {} samples an iteration and {} '
                'iterations an epoch; this run has {}, {} and {}. It goes on, but not bit by '
                'bit.'.format(*before, *now)
            )

    def run(self) -> torch.nn.Module:
        """Train."""
        self.runner.call_hook('before_train')
        if self._validation_pending and self._validated < self._epoch:
            self._validate_if_due()
        while self._epoch < self._max_epochs and not self.stop_training:
            self.run_epoch()
            self._validate_if_due()
        self.runner.call_hook('after_train')
        return self.runner.model

    def _validate_if_due(self) -> None:
        self._decide_current_val_interval()
        if (
            self.runner.val_loop is not None
            and self._epoch >= self.val_begin
            and (self._epoch % self.val_interval == 0 or self._epoch == self._max_epochs)
        ):
            # Set before: the validation ends with writing the best checkpoint.
            self._validated = self._epoch
            self.runner.val_loop.run()

    def run_epoch(self) -> None:
        """Train one epoch, or the rest of it."""
        self.runner.call_hook('before_train_epoch')
        self.runner.model.train()
        self._batches.start(self.runner.seed, self._epoch, self._done)
        for number, batch in enumerate(self.dataloader, start=self._done):
            if not self._warmed_up:
                warm_up_ddp(self.runner.model, batch)
                self._warmed_up = True
            self.run_iter(number, batch)
        self.runner.call_hook('after_train_epoch')
        self._epoch += 1
        self._done = 0

    def run_iter(self, idx: int, data_batch: Sequence[dict]) -> None:
        """Train on a batch, which is number ``idx`` of its epoch."""
        # The last number keeps these keys apart from those of samples.
        seed_everything(self.runner.seed, self._iter, get_rank(), 1)
        self._done, self._in_step = idx + 1, True
        self.runner.call_hook('before_train_iter', batch_idx=idx, data_batch=data_batch)
        weight = self._batches.weight(idx)
        outputs = self.runner.model.train_step(
            data_batch, optim_wrapper=_WeightedLoss(self.runner.optim_wrapper, weight)
        )
        self.runner.call_hook(
            'after_train_iter',
            batch_idx=idx,
            data_batch=data_batch,
            outputs=mean_over_ranks(outputs, weight),
        )
        self._iter += 1
        self._in_step = False


class _WeightedLoss:
    """An optimizer wrapper for a process with fewer samples than others."""

    def __init__(self, wrapper: Any, weight: float) -> None:
        self._wrapper = wrapper
        self._weight = weight

    def __getattr__(self, name: str) -> Any:
        return getattr(self.__dict__['_wrapper'], name)

    def update_params(self, loss: torch.Tensor, *args: Any, **kwargs: Any) -> None:
        if self._weight != 1:
            loss = loss * self._weight
        self._wrapper.update_params(loss, *args, **kwargs)


def mean_over_ranks(outputs: dict | None, weight: float) -> dict | None:
    """Mean over all samples, of the means over those of each process.

    Args:
        outputs: Numbers by name, the same names in all processes.
        weight: See :meth:`ResumableBatchSampler.weight`.

    Returns:
        Tensors by name; ``outputs`` itself of a single process.
    """
    if get_world_size() == 1 or not outputs:
        return outputs
    tensors = list(map(torch.as_tensor, outputs.values()))
    device = tensors[0].device
    means = [tensor.detach().to(device, torch.float64).mean() for tensor in tensors]
    values = torch.stack(means) * weight  # [names]
    all_reduce(values, op='mean')
    return dict(zip(outputs, values.float().unbind()))
