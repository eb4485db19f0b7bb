"""States of streams and frames that no stream of this model gave."""

import functools

import numpy as np
import torch
from hypothesis import strategies as st

from .judge import finite

MODELS = ('conv_mean', 'lstm_attention', 'conv_per_step', 'lstm_max')
VALUES = (float('nan'), float('inf'), -float('inf'), 1e38, -1e38, 0.0, -1.0)


def cases():
    """A model, what is done to its state, and what to its frames."""
    which = st.integers(0, 9)
    change = st.one_of(
        st.just(('whole',)),
        st.tuples(st.just('value'), which, st.sampled_from(VALUES)),
        st.tuples(st.just('shape'), which, st.lists(st.integers(0, 4), max_size=5)),
        st.tuples(
            st.just('dtype'),
            which,
            st.sampled_from(['float64', 'float16', 'int32', 'bool', 'complex64']),
        ),
        st.tuples(st.just('drop'), which),
        st.just(('extra',)),
        st.tuples(st.just('type'), which, st.sampled_from([None, 3, 'x', [1.0], 'numpy'])),
        st.tuples(st.just('batch'), which, st.integers(0, 4)),
        st.tuples(st.just('all_batch'), st.integers(0, 4)),
        st.tuples(st.just('other'), st.sampled_from(MODELS)),
        st.tuples(st.just('weights'), which),
        st.tuples(
            st.just('object'), st.sampled_from(['dict', 'tuple', 'text', 'tensor', 'number'])
        ),
    )
    frames = st.one_of(
        st.none(),
        st.none(),
        st.none(),
        st.tuples(
            st.sampled_from(['uint8', 'float32', 'float64', 'int64', 'bool', 'object']),
            st.lists(st.sampled_from([0, 1, 2, 3, 4, 32, 33]), max_size=5),
        ),
        st.tuples(st.just('value'), st.sampled_from(VALUES[:3])),
    )
    return st.tuples(st.sampled_from(MODELS), change, frames)


@functools.cache
def recognizer(name, seed=0):
    from helpers.stream_models import OPTIONS, build, config

    from cnnlstm_mm.streaming import StreamingRecognizer

    torch.manual_seed(seed)
    cfg = config(*OPTIONS[name])
    return StreamingRecognizer.from_model(build(cfg), cfg)


def changed(state, name, change):
    """The state after a change."""
    from cnnlstm_mm.streaming import StreamState

    tensors = {key: value.contiguous().clone() for key, value in state.tensors.items()}
    keys = sorted(tensors)
    kind = change[0]
    key = keys[change[1] % len(keys)] if len(change) > 1 and isinstance(change[1], int) else None
    if kind == 'value':
        tensors[key].view(-1)[0] = change[2] if tensors[key].is_floating_point() else -5
    elif kind == 'shape':
        tensors[key] = torch.zeros(change[2], dtype=tensors[key].dtype)
    elif kind == 'dtype':
        tensors[key] = tensors[key].to(getattr(torch, change[2]))
    elif kind == 'drop':
        del tensors[key]
    elif kind == 'extra':
        tensors['neck.extra'] = torch.zeros(2)
    elif kind == 'type':
        tensors[key] = tensors[key].numpy() if change[2] == 'numpy' else change[2]
    elif kind == 'batch':
        tensors[key] = tensors[key][:1].repeat_interleave(change[2], 0)
    elif kind == 'all_batch':
        tensors = {k: v[:1].repeat_interleave(change[1], 0) for k, v in tensors.items()}
    elif kind == 'other':
        return recognizer(change[1]).step(torch.randn(2, 3, 32, 32))[1]
    elif kind == 'weights':
        return recognizer(name, 1).step(torch.randn(2, 3, 32, 32))[1]
    elif kind == 'object':
        return dict(
            dict=tensors,
            tuple=tuple(tensors.values()),
            text='state',
            tensor=tensors[keys[0]],
            number=3,
        )[change[1]]
    return StreamState(tensors, state.model)


def check(case, place):
    """Two steps from the state."""
    name, change, frames = case
    rec = recognizer(name)
    torch.manual_seed(0)
    _, state = rec.steps(torch.randn(2, 3, 3, 32, 32))
    state = changed(state, name, change)
    x = torch.randn(2, 3, 32, 32)
    if frames is not None and frames[0] == 'value':
        x[1, 0, 3, 4] = frames[1]
    elif frames is not None:
        x = np.zeros(frames[1], frames[0])
        if frames[0].startswith('float'):
            x = torch.from_numpy(x)
    return [], lambda: run(rec, x, state)


def run(rec, x, state):
    scores, state = rec.step(x, state)
    finite('the scores', scores)
    scores, state = rec.step(torch.randn(2, 3, 32, 32), state)
    finite('the scores', scores)
    finite('the state', *state.tensors.values())
