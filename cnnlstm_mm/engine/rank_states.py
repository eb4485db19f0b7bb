"""What the processes of a distributed training do not have in common."""

import contextlib
from typing import Any, ContextManager

from mmengine.dist import all_gather_object, get_backend, get_rank, get_world_size
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from cnnlstm_mm.weights import state_hash, unwrap_model

State = dict[str, dict[str, Tensor]]


def own_state(model: nn.Module) -> State:
    """Buffers and gradients of this process.

    In the middle of an epoch each process has batch-norm statistics of its
    own; between two updates with ``accumulative_counts`` it has gradients.

    Args:
        model (nn.Module): The model, wrapped or not.

    Returns:
        dict: ``buffers`` and ``grads`` by name, on the CPU.
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


def differing_states(model: nn.Module) -> list[State] | None:
    """Gather the states of all processes; all of them call it.

    Args:
        model (nn.Module): The model of each.

    Returns:
        list or None: One state a process, or None where there is nothing
        that a checkpoint of the main process lacks.
    """
    state = own_state(model)
    if get_world_size() == 1:
        return [dict(state, buffers={})] if state['grads'] else None
    if not state['grads'] and len(set(all_gather_object(state_hash(state['buffers'])))) == 1:
        return None
    return all_gather_object(state)


def load_own_state(model: nn.Module, states: list[State]) -> None:
    """Give this process its buffers and gradients back.

    Args:
        model (nn.Module): The model, wrapped or not.
        states (list): Of :func:`differing_states`.

    Raises:
        ValueError: If the states are those of another number of processes.
    """
    if len(states) != get_world_size():
        raise ValueError(
            f'This checkpoint was written by {len(states)} processes in the '
            'middle of an epoch, and each had batch-norm statistics or '
            f'gradients of its own: {get_world_size()} processes cannot go on '
            f'from it. Start {len(states)}, or take a checkpoint of the end '
            'of an epoch.'
        )
    model = unwrap_model(model)
    _load(model, states[get_rank()])


def settle_gradients(model: nn.Module, batch: Any) -> None:
    """Have DDP order its gradients before the first iteration, not after it.

    After its first backward pass DDP puts the gradients into another order,
    and gloo's sums over three processes and more round differently then. The
    first iteration of a resumed training would so differ in the last bits
    from that of one that ran through. Gradients and buffers stay as they are;
    nothing happens with other models and backends.

    Args:
        model (nn.Module): Wrapped in DDP.
        batch (Any): A batch of this process.
    """
    if (
        get_world_size() < 3
        or get_backend() != 'gloo'
        or not isinstance(model, DistributedDataParallel)
    ):
        return
    state = own_state(model)
    state['buffers'] = {name: buffer.clone() for name, buffer in state['buffers'].items()}
    model.zero_grad()
    model.train_step(batch, optim_wrapper=_BackwardOnly())
    model.zero_grad()
    _load(model.module, state)


class _BackwardOnly:
    """An optimizer wrapper that changes no weight."""

    def optim_context(self, model: nn.Module) -> ContextManager:
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
