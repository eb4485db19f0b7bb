"""Per-rank buffers and gradients that a rank-0 checkpoint misses."""

import contextlib
from typing import Any

from mmengine.dist import all_gather_object, get_backend, get_rank, get_world_size
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from cnnlstm_mm.weights import state_hash, unwrap_model

State = dict[str, dict[str, Tensor]]


def rank_state(model: nn.Module) -> State:
    """``buffers`` and ``grads`` of this process by name, on the CPU.

    In the middle of an epoch each process has separate batch-norm statistics; between two
    updates with ``accumulative_counts`` it has gradients.
    """
    model = unwrap_model(model)
    return dict(
        buffers={name: buffer.detach().cpu() for name, buffer in model.named_buffers()},
        grads={
            name: parameter.grad.detach().cpu()
            for name, parameter in model.named_parameters()
            if parameter.grad is not None
        },
    )


def gather_rank_states(model: nn.Module) -> list[State] | None:
    """Gather one state per process; all processes call it.

    Returns:
        None where a checkpoint of the main process misses nothing.
    """
    state = rank_state(model)
    if get_world_size() == 1:
        return [dict(state, buffers={})] if state['grads'] else None
    if not state['grads'] and len(set(all_gather_object(state_hash(state['buffers'])))) == 1:
        return None
    return all_gather_object(state)


def load_rank_state(model: nn.Module, states: list[State]) -> None:
    """Restore the buffers and gradients of this process.

    Args:
        model: Wrapped or not.
        states: Of :func:`gather_rank_states`.

    Raises:
        ValueError: If they were gathered from another number of processes.
    """
    if len(states) != get_world_size():
        raise ValueError(
            f'This checkpoint was written in the middle of an epoch, with batch-norm statistics '
            f'or gradients of each process: expected {len(states)} processes, got '
            f'{get_world_size()}; fix: start {len(states)}, or resume from the end of an epoch.'
        )
    _load(unwrap_model(model), states[get_rank()])


def warm_up_ddp(model: nn.Module, batch: Any) -> None:
    """Have DDP order its gradients before the first iteration, not after it.

    After its first backward pass DDP puts the gradients into another order, and gloo's sums over
    three processes and more round differently then. The first iteration of a resumed training
    would so differ in the last bits from that of one that ran through. Gradients and buffers stay
    as they are; nothing happens with other models and backends.
    """
    if (
        get_world_size() < 3
        or get_backend() != 'gloo'
        or not isinstance(model, DistributedDataParallel)
    ):
        return
    state = rank_state(model)
    state['buffers'] = {name: buffer.clone() for name, buffer in state['buffers'].items()}
    model.zero_grad()
    model.train_step(batch, optim_wrapper=_BackwardOnly())
    model.zero_grad()
    _load(model.module, state)


class _BackwardOnly:
    """An optimizer wrapper that changes no weight."""

    def optim_context(self, model: nn.Module) -> contextlib.AbstractContextManager:
        return contextlib.nullcontext()

    def update_params(self, loss: Tensor) -> None:
        loss.backward()


def _load(model: nn.Module, state: State) -> None:
    buffers = dict(model.named_buffers())
    for name, buffer in state['buffers'].items():
        buffers[name].copy_(buffer)
    parameters = dict(model.named_parameters())
    for name, grad in state['grads'].items():
        parameters[name].grad = grad.to(parameters[name])
