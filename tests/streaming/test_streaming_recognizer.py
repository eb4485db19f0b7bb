"""What a StreamingRecognizer takes, refuses and keeps to itself."""

import pickle

import numpy as np
import pytest
import torch
from helpers.stream_models import CONV, FLAT, I3D, LSTM, OPTIONS, build, config
from helpers.support import ROOT, run_python
from mmengine.config import Config
from torch.utils._python_dispatch import TorchDispatchMode

from cnnlstm_mm.layers.gpu.cuda_graphs import GraphCache
from cnnlstm_mm.models.acceleration import folded_copy
from cnnlstm_mm.streaming import StreamingRecognizer, StreamState, step_model


def make(neck=CONV, head=I3D, seed=3, **options):
    torch.manual_seed(seed)
    cfg = config(neck, head)
    return StreamingRecognizer.from_model(build(cfg), cfg, **options)


def frames(count, seed=0, size=(48, 40)):
    return np.random.default_rng(seed).integers(0, 256, (count, *size, 3), np.uint8)


@pytest.mark.parametrize(
    'neck, head, backbone, words',
    [
        (
            dict(CONV, bidirectional=True),
            dict(I3D, in_channels=12),
            None,
            'set bidirectional=False',
        ),
        (dict(CONV, go_backwards=True), I3D, None, 'set go_backwards=False'),
        (
            dict(LSTM, bidirectional=True),
            dict(I3D, in_channels=12),
            None,
            'set bidirectional=False',
        ),
        (dict(CONV, return_mode='sequence'), I3D, None, 'type="PerStepHead"'),
        (dict(LSTM, temporal_pool='none'), I3D, None, "'mean' gives the same"),
        (CONV, dict(FLAT, num_steps=6), None, 'set num_steps=1'),
        (None, dict(I3D, in_channels=16), None, 'ConvLSTMNeck or LSTMPoolingNeck'),
        (
            CONV,
            I3D,
            dict(type='MobileNetV2TSM', num_segments=6, pretrained2d=False),
            'mixes the 6 frames',
        ),
    ],
)
def test_what_needs_the_whole_clip_is_refused(neck, head, backbone, words):
    cfg = config(neck, head, backbone)
    with pytest.raises(ValueError) as caught:
        StreamingRecognizer(cfg)
    assert words in str(caught.value).replace(' gives\n', ' gives')


def test_a_backbone_in_three_dimensions_is_refused():
    cfg = config(CONV, I3D)
    cfg.model.backbone = dict(type='ResNet3d', depth=18, pretrained=None)
    with pytest.raises(ValueError, match='TimeDistributed'):
        StreamingRecognizer(cfg)


def test_the_mean_in_the_neck_is_the_average_of_the_head():
    """The cure that the refusal of I3DHead on a sequence names."""
    torch.manual_seed(0)
    cfg = config(dict(CONV, return_mode='sequence'), I3D)
    model = build(cfg)
    x = torch.randn(2, 1, 3, 4, 32, 32)
    want = model(x, mode='tensor', stage='head')[0]
    model.neck.temporal_pool = 'mean'
    torch.testing.assert_close(model(x, mode='tensor', stage='head')[0], want, rtol=0, atol=1e-6)


@pytest.mark.slow
def test_every_config_of_ours_runs_or_says_why_not():
    for path in sorted((ROOT / 'configs').glob('*.py')):
        others = ('hmdb51', 'kinetics400', 'weizmann', 'diving48', 'jester', 'rwf2000', '_16')
        if path.stem.endswith(others):
            continue  # the models of UCF101 and of Something-Something
        cfg = Config.fromfile(path)
        if cfg.model.type == 'VideoCaptioner':
            continue  # tests/captions/test_caption_streams.py
        if 'embeddings' in path.stem:  # it reads no frames
            with pytest.raises(ValueError, match='PrecomputedFeatures'):
                StreamingRecognizer(cfg)
        elif 'tsm' in path.stem:
            with pytest.raises(ValueError, match='TSM'):
                StreamingRecognizer(cfg)
        elif cfg.model.get('neck') is None:
            with pytest.raises(ValueError, match='use a recurrent neck'):
                StreamingRecognizer(cfg)
        else:
            rec = StreamingRecognizer(cfg)
            sides = [
                t.get('crop_size', t.get('scale'))
                for t in cfg.test_pipeline
                if t.type in ('Resize', 'CenterCrop', 'ThreeCrop')
            ]
            if 'gestures' not in path.stem:  # drawn in their size
                width, height = (sides[-1], sides[-1]) if isinstance(sides[-1], int) else sides[-1]
                assert rec.transform.size == (height, width), path
            assert rec.num_classes == cfg.model.cls_head.num_classes


def test_checkpoint_of_another_model_is_refused(tmp_path):
    cfg = config(CONV, I3D)
    path = tmp_path / 'other.pth'
    torch.save(build(config(LSTM, I3D)).state_dict(), path)
    with pytest.raises(
        RuntimeError,
        match=r'other.pth does not fit(.|\n)*'
        'neck.conv_lstm.weight_ih_l0',
    ):
        StreamingRecognizer(cfg, str(path))


@pytest.mark.slow
def test_a_state_goes_on_in_another_process(tmp_path, forks):
    torch.manual_seed(1)
    cfg = config(*OPTIONS['conv_mean'])
    torch.save(build(cfg).state_dict(), tmp_path / 'model.pth')
    cfg.dump(tmp_path / 'config.py')
    rec = StreamingRecognizer(cfg, str(tmp_path / 'model.pth'))
    _, state = rec.step(frames(2, 1))
    want, _ = rec.step(frames(2, 2), state)
    with open(tmp_path / 'state.pkl', 'wb') as file:
        pickle.dump((state, frames(2, 2)), file)
    done = run_python(
        '-c',
        'import pickle, sys, cnnlstm_mm, torch\n'
        'from cnnlstm_mm.streaming import StreamingRecognizer\n'
        'path = sys.argv[1]\n'
        'rec = StreamingRecognizer(path + "/config.py", path + "/model.pth")\n'
        'state, frames = pickle.load(open(path + "/state.pkl", "rb"))\n'
        'torch.save(rec.step(frames, state)[0], path + "/scores.pth")',
        tmp_path,
    )
    assert done.returncode == 0, done.stderr
    torch.testing.assert_close(torch.load(tmp_path / 'scores.pth'), want, rtol=0, atol=1e-6)


def test_neither_input_changes_and_nothing_is_kept():
    rec = make(*OPTIONS['lstm_attention'])
    _, state = rec.step(frames(2, 1))
    before = {name: value.clone() for name, value in state.tensors.items()}
    first, _ = rec.step(frames(2, 2), state)
    rec.step(frames(2, 3), state)
    rec.reset(state, [True, False])
    second, _ = rec.step(frames(2, 2), state)
    assert torch.equal(first, second)
    for name, value in state.tensors.items():
        assert torch.equal(value, before[name])
    assert list(rec.model.buffers(recurse=False)) == []


def test_the_state_does_not_grow():
    rec = make(*OPTIONS['conv_mean'])
    state = rec.init_state(2)
    size = len(pickle.dumps(state))
    for k in range(5):
        _, state = rec.step(frames(2, k), state)
    assert len(pickle.dumps(state)) < 1.1 * size


def test_streams_of_different_sizes_share_a_batch():
    rec = make()
    small, large = frames(1, 1, (50, 64))[0], frames(1, 2, (90, 80))[0]
    both, _ = rec.step([small, large])
    alone = torch.cat([rec.step([small])[0], rec.step([large])[0]])
    torch.testing.assert_close(both, alone, rtol=0, atol=1e-6)


def test_prepared_frames_give_the_same():
    rec = make()
    want, _ = rec.step(frames(2))
    x = rec.prepare(frames(2))
    assert x.shape == (2, 3, 32, 32)
    assert torch.equal(rec.step(x)[0], want)
    assert torch.equal(rec.steps(x[:, :, None])[0][:, 0], want)


@pytest.mark.parametrize(
    'call, words',
    [
        (lambda r, s: r.step(frames(3), s), '3 frames for a state of 2 streams'),
        (lambda r, s: r.step(torch.zeros(2, 3, 64, 64), s), 'begin a new one'),
        (lambda r, s: r.step(frames(2), make(seed=4).init_state(2)), 'belongs to the model'),
        (lambda r, s: r.step(frames(2).astype(np.int64), s), 'uint8'),
        (lambda r, s: r.step(frames(2)[..., :1], s), r'\[48, 40, 1\]'),
        (lambda r, s: r.step([], s), 'no frames'),
        (
            lambda r, s: r.step(torch.full((2, 3, 32, 32), torch.nan), s),
            r'frames of the streams \[0, 1\]',
        ),
        (lambda r, s: r.step(torch.zeros(2, 32, 32, 3), s), r'\[N, 3, h, w\]'),
        (lambda r, s: r.steps([frames(2), frames(3)], s), r'\[2, 3\]'),
        (lambda r, s: r.steps(torch.zeros(2, 3, 32, 32), s), r'\[N, 3, T, h, w\]'),
        (lambda r, s: r.step(frames(2), s.tensors), 'expected the StreamState'),
        (
            lambda r, s: r.step(frames(2), r.reset(make(seed=4).init_state(2), [True, False])),
            'belongs to the model',
        ),
        (lambda r, s: r.reset(s, [True]), r'mask to be bool \[2\]'),
        (lambda r, s: r.reset(s, [0, 1]), r'mask to be bool \[2\]'),
        (lambda r, s: StreamState.cat([s, make(seed=4).init_state()]), 'different models'),
        (lambda r, s: StreamState.cat([s, r.init_state(1, (64, 64))]), 'frame sizes'),
    ],
)
def test_what_does_not_fit_is_named(call, words):
    rec = make()
    with pytest.raises(ValueError, match=words):
        call(rec, rec.init_state(2))


def test_nan_in_one_stream_is_named_and_reset_cures_it():
    rec = make(*OPTIONS['lstm_max'])
    _, state = rec.step(frames(3, 1))
    want, _ = rec.step(frames(3, 2), state)
    state.tensors['neck.c'][1] = torch.nan
    with pytest.raises(ValueError, match=r'streams \[1\].*reset'):
        rec.step(frames(3, 2), state)
    got, _ = rec.step(frames(3, 2), rec.reset(state, [False, True, False]))
    torch.testing.assert_close(got[[0, 2]], want[[0, 2]], rtol=0, atol=1e-6)
    torch.testing.assert_close(got[1:2], rec.step(frames(3, 2)[1:2])[0], rtol=0, atol=1e-6)


class Waits(TorchDispatchMode):
    """Count how often the host asks for the value of a tensor."""

    count = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        name = function.overloadpacket.__name__
        self.count += name in ('_local_scalar_dense', 'nonzero', 'equal', 'is_nonzero')
        return function(*args, **(kwargs or {}))


@pytest.mark.parametrize(
    'check, begins, goes_on', [('always', 1, 1), ('first', 1, 0), ('never', 0, 0)]
)
@pytest.mark.parametrize('option', ['conv_mean', 'lstm_attention'])
def test_the_host_waits_for_the_check_alone(check, begins, goes_on, option, monkeypatch):
    monkeypatch.setattr(torch.Tensor, 'pin_memory', None, raising=False)  # needs a GPU
    rec = make(*OPTIONS[option], check=check)
    x = rec.prepare(frames(2))
    _, state = rec.step(x)
    for before, wanted in ((None, begins), (state, goes_on)):
        with Waits() as waits:
            rec.step(x, before)
        assert waits.count == wanted
    x[1, 0, 0, 0] = torch.nan
    for before, wanted in ((None, begins), (state, goes_on)):
        if wanted:
            with pytest.raises(ValueError, match=r'NaN.*in the frames of the streams \[1\]'):
                rec.step(x, before)
        else:
            rec.step(x, before)


def test_an_unknown_check_is_refused():
    with pytest.raises(ValueError, match="'first', 'never'.*got 'often'"):
        make(check='often')


def test_a_source_without_a_fixed_size():
    rec = make()
    rec.transform.steps.clear()
    with pytest.raises(ValueError, match='frame_size'):
        rec.init_state()
    with pytest.raises(ValueError, match='one batch'):
        rec.step([frames(1, size=(32, 32))[0], frames(1, size=(64, 64))[0]])
    assert rec.init_state(frame_size=(64, 32)).tensors['neck.h'].shape == (1, 1, 6, 8, 4)


@pytest.mark.parametrize('option', ['conv_peephole', 'lstm_mean'])
def test_bfloat16_is_close_and_its_state_is_float32(option, monkeypatch):
    for module in (folded_copy, step_model):
        monkeypatch.setattr(module, 'has_bfloat16', lambda device: True)
    exact = make(*OPTIONS[option])
    rec = make(*OPTIONS[option], dtype=torch.bfloat16)
    state = want = None
    for k in range(4):
        scores, state = rec.step(frames(2, k), state)
        expected, want = exact.step(frames(2, k), want)
        for name, tensor in state.tensors.items():
            assert tensor.dtype == want.tensors[name].dtype
    assert 0 < (scores - expected).abs().max() < 3e-2
    exact.step(frames(2, 5), state)


def test_bfloat16_where_it_would_be_slower(monkeypatch, recwarn):
    """Float32, and one warning that says so."""
    for module in (folded_copy, step_model):
        monkeypatch.setattr(module, 'has_bfloat16', lambda device: False)
    rec, exact = make(dtype=torch.bfloat16), make()
    for k in range(2):
        assert torch.equal(rec.step(frames(2, k))[0], exact.step(frames(2, k))[0])
    assert [str(w.message) for w in recwarn if 'bfloat16' in str(w.message)] == [
        'expected bfloat16 instructions (AMX or AVX512-BF16 on an x86 CPU), this cpu has none, so '
        'the stream runs in float32, which is faster here'
    ]


def test_float16_is_refused():
    with pytest.raises(ValueError, match='bfloat16'):
        make(dtype=torch.float16)


class Recorded:
    """As CudaGraph: a function of tensors that stay where they are."""

    def __init__(self, function, inputs):
        self.function, self.inputs = function, tuple(t.clone() for t in inputs)

    def __call__(self, inputs):
        for kept, given in zip(self.inputs, inputs):
            kept.copy_(given)
        return self.function(*self.inputs)


@pytest.mark.parametrize('option', ['conv_peephole', 'lstm_mean'])
def test_graphs_of_steps(option):
    """One for each number of streams and frames a step; scores and states are the same."""
    rec, exact = make(*OPTIONS[option]), make(*OPTIONS[option])
    rec._graphs = GraphCache(Recorded)
    states = {1: (None, None), 2: (None, None)}
    for k in range(3):
        for streams, (state, want) in states.items():
            scores, state = rec.step(frames(streams, k), state)
            expected, want = exact.step(frames(streams, k), want)
            assert torch.equal(scores, expected)
            assert all(torch.equal(state.tensors[n], t) for n, t in want.tensors.items())
            states[streams] = state, want
    assert len(rec._graphs.graphs) == 2


def test_graphs_need_a_gpu():
    with pytest.raises(ValueError, match="cuda_graph=True, got 'cpu'"):
        make(cuda_graph=True)


@pytest.mark.gpu
@pytest.mark.parametrize('option', ['conv_peephole', 'lstm_mean'])
def test_cuda_graphs_of_steps(option):
    rec, exact = (make(*OPTIONS[option], device='cuda', cuda_graph=g) for g in (True, False))
    state = want = None
    for k in range(3):
        scores, state = rec.step(frames(2, k), state)
        expected, want = exact.step(frames(2, k), want)
        torch.testing.assert_close(scores, expected, rtol=1e-3, atol=1e-4)


@pytest.mark.gpu
def test_a_state_moves_to_the_gpu():
    cpu, gpu = make(), make(device='cuda')
    _, state = cpu.step(frames(2, 1))
    with pytest.raises(ValueError, match='cuda'):
        gpu.step(frames(2, 2), state)
    want, _ = cpu.step(frames(2, 2), state)
    got, _ = gpu.step(frames(2, 2), state.to('cuda'))
    torch.testing.assert_close(got.cpu(), want, rtol=0, atol=1e-3)


def test_one_copy_of_the_backbone_for_all_sizes():
    rec = make()
    rec.transform.steps.clear()
    rec.step(frames(1, size=(32, 32)))
    made = rec.model.backbone._folded._copy
    assert rec.model.backbone._folded.immutable
    assert not any(isinstance(m, torch.nn.BatchNorm2d) for m in made.module.modules())
    for width in range(32, 80, 2):
        rec.step(frames(1, size=(32, width)))
    assert rec.model.backbone._folded._copy is made
