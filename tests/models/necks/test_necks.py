"""The necks against the layers they hold, and what they refuse."""

import pytest
import torch
from helpers.necks import NECKS, build_neck, neck_config
from helpers.support import ROOT

from cnnlstm_mm.layers import ConvLSTM
from cnnlstm_mm.models.necks import PaddedFeature
from mmaction.registry import MODELS

CONV = dict(type='ConvLSTMNeck', in_channels=6, hidden_channels=4)
LSTM = dict(type='LSTMPoolingNeck', in_channels=6, hidden_channels=4)


def build(base, **kwargs):
    neck = MODELS.build(dict(base, **kwargs))
    neck.init_weights()
    return neck


@pytest.mark.parametrize('bidirectional', [False, True])
@pytest.mark.parametrize('mode, steps', [('last', 1), ('mean', 1), ('sequence', 5)])
def test_conv_lstm_neck_returns(mode, steps, bidirectional):
    neck = build(CONV, return_mode=mode, bidirectional=bidirectional, num_layers=2)
    x = torch.randn(2, 6, 5, 7, 3)
    layer = ConvLSTM(6, 4, num_layers=2, bidirectional=bidirectional)
    layer.load_state_dict(neck.conv_lstm.state_dict())
    output, _ = layer(x.permute(0, 2, 1, 3, 4))
    want = dict(
        sequence=output.permute(0, 2, 1, 3, 4),
        mean=output.mean(1)[:, :, None],
        # The backward direction ends at the first frame.
        last=torch.cat([output[:, -1, :4], output[:, 0, 4:]], 1)[:, :, None],
    )
    got, losses = neck(x, data_samples=None)
    assert losses == {}
    assert got.shape == (2, 8 if bidirectional else 4, steps, 7, 3)
    torch.testing.assert_close(got, want[mode])


@pytest.mark.parametrize('bidirectional', [False, True])
@pytest.mark.parametrize('pool', ['last', 'mean', 'max', 'attention'])
def test_lstm_pooling_neck_returns(pool, bidirectional):
    neck = build(LSTM, temporal_pool=pool, bidirectional=bidirectional, num_layers=2)
    x = torch.randn(2, 6, 5, 7, 3)
    output, _ = neck.lstm(x.mean((3, 4)).transpose(1, 2))
    if pool == 'last':
        want = torch.cat([output[:, -1, :4], output[:, 0, 4:]], 1)
    elif pool == 'attention':
        score = neck.attention(output)
        want = sum(output[:, t] * score[:, t].exp() for t in range(5))
        want = want / score.exp().sum(1)
    else:
        want = output.mean(1) if pool == 'mean' else output.max(1).values
    got, losses = neck(x)
    assert losses == {}
    torch.testing.assert_close(got, want[:, :, None, None, None])


@pytest.mark.parametrize('pool', ['avg', 'max', 'flatten'])
@pytest.mark.parametrize('dense', [None, 5])
def test_frame_vectors(pool, dense):
    size = (3, 2) if pool == 'flatten' else None
    neck = build(LSTM, spatial_pool=pool, spatial_size=size, dense_channels=dense)
    x = torch.randn(2, 6, 4, 3, 2)
    frames = []
    for t in range(4):
        frame = x[:, :, t]
        frame = dict(avg=frame.mean((2, 3)), max=frame.amax((2, 3)), flatten=frame.reshape(2, -1))[
            pool
        ]
        frames.append(frame if dense is None else neck.dense(frame).relu())
    want = neck.lstm(torch.stack(frames, 1))[1][0][-1]
    torch.testing.assert_close(neck(x)[0][:, :, 0, 0, 0], want)


def test_lstm_starts_as_keras_does():
    lstm = build(LSTM, num_layers=2).lstm
    for k in range(2):
        recurrent = getattr(lstm, f'weight_hh_l{k}')
        torch.testing.assert_close(recurrent.T @ recurrent, torch.eye(4))
        bias = getattr(lstm, f'bias_ih_l{k}') + getattr(lstm, f'bias_hh_l{k}')
        assert bias.tolist() == [0.0] * 4 + [1.0] * 4 + [0.0] * 8


def test_dropout_between_layers_is_passed_on():
    assert build(LSTM, num_layers=2, dropout=0.3).lstm.dropout == 0.3


@pytest.mark.parametrize('name', NECKS)
def test_takes_one_stage_of_a_tuple(name):
    neck = build_neck(name)
    stages = torch.randn(2, 3, 2, 8, 8), torch.randn(2, 6, 2, 4, 4)
    torch.testing.assert_close(neck(stages)[0], neck(stages[1])[0])
    with pytest.raises(ValueError, match='in_index=5.*2 stages'):
        build_neck(name, in_index=5)(stages)


@pytest.mark.parametrize('name', NECKS)
@pytest.mark.parametrize(
    'x, error, words',
    [
        ([torch.zeros(2, 6, 5, 4, 4)], TypeError, ['Recognizer3D']),
        (torch.zeros(10, 6, 4, 4), ValueError, ['(10, 6, 4, 4)', 'TimeDistributed']),
        (torch.zeros(2, 7, 5, 4, 4), ValueError, ['in_channels=6', 'in_channels=7']),
    ],
)
def test_refuses_with_the_cure(name, x, error, words):
    with pytest.raises(error) as caught:
        build_neck(name)(x)
    assert all(word in str(caught.value) for word in words)


@pytest.mark.parametrize('name', NECKS)
def test_recognizer2d_meets_the_refusal(name):
    recognizer = MODELS.build(
        dict(
            type='Recognizer2D',
            backbone=dict(type='MobileNetV2', widen_factor=0.1, out_indices=(6, 7)),
            neck=neck_config(name, channels=1280),
            cls_head=dict(type='TSNHead', num_classes=2, in_channels=4),
        )
    )
    with pytest.raises(TypeError, match='one sequence'):
        recognizer(torch.randn(1, 3, 3, 32, 32), mode='tensor', stage='neck')


def test_frame_smaller_than_a_valid_kernel():
    neck = build(CONV, padding='valid', kernel_size=5)
    with pytest.raises(ValueError) as caught:
        neck(torch.zeros(1, 6, 2, 4, 9))
    assert '5' in str(caught.value) and '4' in str(caught.value)
    assert "'same'" in str(caught.value)


def test_flatten_refuses_another_map_size():
    neck = build(LSTM, spatial_pool='flatten', spatial_size=3)
    with pytest.raises(ValueError, match=r'\(3, 3\).*\(4, 4\)'):
        neck(torch.zeros(1, 6, 2, 4, 4))


@pytest.mark.parametrize(
    'base, option',
    [
        (CONV, dict(return_mode='first')),
        (LSTM, dict(temporal_pool='first')),
        (LSTM, dict(spatial_pool='min')),
        (LSTM, dict(spatial_pool='flatten')),
        (LSTM, dict(spatial_size=3)),
    ],
)
def test_unknown_options_are_named(base, option):
    with pytest.raises(ValueError, match=next(iter(option))):
        build(base, **option)


def test_reduction_is_a_1x1_convolution_of_every_frame():
    neck = build(CONV, reduce_channels=3, gate_conv='depthwise')
    x = torch.randn(2, 6, 5, 7, 3)
    reduced = torch.einsum('nctij,dc->ntdij', x, neck.reduce.weight[:, :, 0, 0])
    reduced = reduced + neck.reduce.bias[:, None, None]
    want = neck.conv_lstm(reduced)[1][0][-1][:, :, None]
    torch.testing.assert_close(neck(x)[0], want)


def test_a_padded_sequence_is_not_returned_whole():
    neck = build(CONV, return_mode='sequence')
    x = PaddedFeature(torch.randn(2, 6, 4, 3, 3), torch.tensor([2, 4]))
    with pytest.raises(ValueError, match="'last' or 'mean'"):
        neck(x)


OLD = torch.load(ROOT / 'tests/data/necks_0.1.pth', weights_only=True)


@pytest.mark.parametrize('saved', OLD['necks'], ids=lambda saved: str(saved['config']))
def test_weights_of_version_0_1_give_its_outputs(saved):
    """Saved by the necks before they had a common base, with what they returned."""
    neck = MODELS.build(saved['config']).eval()
    neck.load_state_dict(saved['state_dict'])
    with torch.no_grad():
        got = neck(OLD['x'])[0]
    torch.testing.assert_close(got, saved['output'], rtol=0, atol=1e-6)
