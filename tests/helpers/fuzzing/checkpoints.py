"""Checkpoints: of strangers, of other models, in pieces."""

import io
import os
import pickle
import zipfile
from pathlib import Path

import torch
from hypothesis import strategies as st

from .judge import Fault, finite

DTYPES = ('float16', 'bfloat16', 'float64', 'int64', 'bool', 'complex64')
USERS = ('train', 'test', 'resume', 'stream', 'load')


class Attack:
    """Writes a file where it is unpickled."""

    def __init__(self, path, how):
        self.path, self.how = path, how

    def __reduce__(self):
        if self.how == 'open':
            return open, (self.path, 'w')
        if self.how == 'exec':
            return exec, (f'open({self.path!r}, "w").close()',)
        if self.how == 'eval':
            return eval, (f'open({self.path!r}, "w")',)
        if self.how == 'getattr':
            return Path.touch, (Path(self.path),)
        return os.system, (f'touch {self.path}',)


def cases():
    """What is done to a sound checkpoint, and who loads it."""
    which = st.integers(0, 40)
    change = st.one_of(
        st.tuples(st.just('drop'), st.lists(which, min_size=1, max_size=50)),
        st.tuples(st.just('rename'), which),
        st.tuples(st.just('reshape'), which, st.lists(st.integers(0, 5), max_size=4)),
        st.tuples(st.just('dtype'), which, st.sampled_from(DTYPES)),
        st.tuples(
            st.just('value'),
            which,
            st.sampled_from([float('nan'), float('inf'), -float('inf'), 1e38]),
        ),
        st.tuples(st.just('replace'), which, st.sampled_from([None, 3, 'text', [1.0], {}])),
        st.tuples(st.just('extra'), which),
        st.tuples(st.just('other'), st.sampled_from(['lstm', 'linear', 'prefix', 'empty'])),
        st.tuples(
            st.just('top'),
            st.sampled_from(
                ['tensor', 'list', 'text', 'number', 'none', 'bare', 'nested', 'no_meta', 'module']
            ),
        ),
        st.tuples(
            st.just('attack'),
            st.sampled_from(['open', 'exec', 'eval', 'getattr', 'system']),
            st.sampled_from(['torch', 'legacy', 'pickle0', 'pickle2', 'pickle5', 'zip']),
        ),
        st.tuples(st.just('cut'), st.floats(0, 1)),
        st.tuples(
            st.just('flip'),
            st.lists(st.tuples(st.floats(0, 1), st.integers(0, 7)), min_size=1, max_size=8),
        ),
        st.tuples(st.just('bytes'), st.binary(max_size=200)),
        st.just(('whole',)),
    )
    return st.tuples(change, st.sampled_from(USERS))


def recognizer(kind='conv'):
    """A small model and its config."""
    from helpers.stream_models import CONV, I3D, LSTM, config

    from mmaction.registry import MODELS

    cfg = config(*((CONV, I3D) if kind == 'conv' else (LSTM, I3D)))
    return MODELS.build(cfg.model), cfg


def write(path, change, evidence):
    """Write the checkpoint."""
    torch.manual_seed(0)
    model, _ = recognizer()
    state = dict(model.state_dict())
    keys = sorted(state)
    kind = change[0]
    whole = dict(
        state_dict=state,
        meta=dict(epoch=1, iter=4),
        message_hub=dict(log_scalars={}, runtime_info={}, resumed_keys={}),
        optimizer={},
    )
    key = keys[change[1] % len(keys)] if len(change) > 1 and isinstance(change[1], int) else None
    if kind == 'drop':
        for k in change[1]:
            state.pop(keys[k % len(keys)], None)
    elif kind == 'rename':
        state[f'{key}_'] = state.pop(key)
    elif kind == 'reshape':
        state[key] = torch.zeros(change[2])
    elif kind == 'dtype':
        state[key] = state[key].to(getattr(torch, change[2]))
    elif kind == 'value':
        if state[key].is_floating_point():
            state[key] = state[key].contiguous().clone()
            state[key].view(-1)[0] = change[2]
    elif kind == 'replace':
        state[key] = change[2]
    elif kind == 'extra':
        state['neck.extra'] = torch.ones(2)
    elif kind == 'other':
        whole['state_dict'] = dict(
            lstm=lambda: recognizer('lstm')[0].state_dict(),
            linear=lambda: torch.nn.Linear(2, 2).state_dict(),
            prefix=lambda: {f'model.{k}': v for k, v in state.items()},
            empty=dict,
        )[change[1]]()
    elif kind == 'top':
        whole = dict(
            tensor=torch.ones(2),
            list=[1, 2],
            text='x',
            number=3,
            none=None,
            bare=state,
            nested=dict(state_dict=[1]),
            no_meta=dict(state_dict=state),
            module=dict(whole, state_dict={f'module.{k}': v for k, v in state.items()}),
        )[change[1]]
    elif kind == 'attack':
        attack = Attack(str(evidence), change[1])
        if change[2] in ('torch', 'legacy'):
            whole['meta']['attack'] = attack
            torch.save(whole, path, _use_new_zipfile_serialization=change[2] == 'torch')
        elif change[2] == 'zip':
            with zipfile.ZipFile(path, 'w') as archive:
                archive.writestr('x/data.pkl', pickle.dumps(attack))
                archive.writestr('x/version', '3')
        else:
            path.write_bytes(pickle.dumps(dict(state_dict=attack), int(change[2][-1])))
        return
    stream = io.BytesIO()
    torch.save(whole, stream)
    data = stream.getvalue()
    if kind == 'cut':
        data = data[: int(len(data) * change[1])]
    elif kind == 'flip':
        data = bytearray(data)
        for where, bit in change[1]:
            data[int(where * (len(data) - 1))] ^= 1 << bit
    elif kind == 'bytes':
        data = change[1]
    path.write_bytes(data)


def check(case, place):
    """Load it as a tool does, and run the model."""
    change, user = case
    path, evidence = Path(place) / 'fuzzed.pth', Path(place) / 'evidence'
    evidence.unlink(missing_ok=True)
    write(path, change, evidence)
    if change[0] == 'attack':
        evidence.unlink(missing_ok=True)  # of making it

    def run():
        try:
            load(path, user, place)
        finally:
            if evidence.exists():
                raise Fault(f'code of the file was run: {change}')
        if change[0] == 'attack':
            raise Fault('an attack was accepted')

    return ['fuzzed.pth'], run


def load(path, user, place):
    if user == 'stream':
        from cnnlstm_mm.streaming import StreamingRecognizer

        scores, _ = StreamingRecognizer(recognizer()[1], str(path)).step(torch.randn(1, 3, 32, 32))
        finite('the stream', scores)
        return
    if user == 'load':
        from cnnlstm_mm.weights import load_complete

        model = recognizer()[0]
        load_complete(model, str(path))
    else:
        run = runner(user, place)
        run._load_from = str(path)
        run.load_checkpoint(str(path))
        model = run.model
    model.eval()
    with torch.no_grad():
        finite('the model', model(torch.rand(1, 1, 3, 2, 32, 32)))


def runner(user, place):
    """A Runner as it is when it loads: for training, resuming or a test."""
    from mmengine.runner import EpochBasedTrainLoop, Runner

    model, _ = recognizer()
    run = Runner(
        model,
        str(Path(place) / 'work'),
        experiment_name=f'fuzz{id(model)}',
        default_hooks=dict(
            logger=None,
            checkpoint=None,
            timer=None,
            runtime_info=None,
            whole_checkpoint=dict(type='WholeCheckpointHook'),
        ),
        default_scope='mmaction',
        log_level='ERROR',
    )
    run._resume = user == 'resume'
    if user != 'test':
        run._train_loop = EpochBasedTrainLoop.__new__(EpochBasedTrainLoop)
    return run
