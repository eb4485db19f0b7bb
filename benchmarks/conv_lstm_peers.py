"""ConvLSTM implementations to compare, all with the same weights.

A peer is built from a case and arrays, and has ``forward()``, ``train()`` and
``output()``. A training step is forward and backward, for x and all weights.
"""

import os
import time
from typing import NamedTuple

import numpy as np


class Case(NamedTuple):
    """x [batch, frames, inputs, size, size] to ``hidden`` channels, 3 x 3, zeros or a state first."""

    name: str
    batch: int
    frames: int
    inputs: int
    hidden: int
    size: int
    padding: str
    state: bool = False

    @property
    def operations(self) -> int:
        """Operations of the forward convolutions; a multiply-add counts as two."""
        out = self.size - (2 if self.padding == 'valid' else 0)
        return (
            2
            * self.batch
            * self.frames
            * out
            * out
            * 4
            * self.hidden
            * (self.inputs + self.hidden)
            * 9
        )


class Peer:
    """Base class of what is timed."""

    def time(self, method: str, clock: str) -> float:
        """Seconds of a call by ``clock``, a function of the module ``time``."""
        now = getattr(time, clock)
        start = now()
        getattr(self, method)()
        return now() - start


class TorchPeer(Peer):
    """Our layer; base class of the other peers in PyTorch."""

    def __init__(self, case: Case, arrays: dict, **options) -> None:
        import torch

        from cnnlstm_mm.layers import ConvLSTM

        self.layer = ConvLSTM(case.inputs, case.hidden, padding=case.padding, **options)
        if options.get('gate_conv', 'full') == 'full':
            self.layer.load_state_dict(
                {
                    k: torch.from_numpy(arrays[k])
                    for k in ('weight_ih_l0', 'weight_hh_l0', 'bias_l0')
                }
            )
        self.x = torch.from_numpy(arrays['x']).requires_grad_()
        self.parameters = list(self.layer.parameters())
        self.state = None
        if case.state:
            self.state = (torch.zeros(1, case.batch, case.hidden, case.size, case.size),) * 2

    def run(self):
        return self.layer(self.x, self.state)[0]

    def forward(self) -> None:
        import torch

        with torch.inference_mode():
            self.run()

    def train(self) -> None:
        import torch

        output = self.run()
        torch.autograd.grad(output, [self.x, *self.parameters], torch.ones_like(output))

    def output(self) -> np.ndarray:
        import torch

        with torch.inference_mode():
            return self.run().float().numpy()

    def kept(self) -> int:
        """Bytes saved for backward, without x, the weights and the output."""
        import torch

        sizes = {}

        def pack(t):
            storage = t.untyped_storage()
            sizes[storage.data_ptr()] = storage.nbytes()
            return t

        with torch.autograd.graph.saved_tensors_hooks(pack, lambda t: t):
            output = self.run()
        for t in (self.x, output, *self.parameters):
            sizes.pop(t.untyped_storage().data_ptr(), None)
        return sum(sizes.values())


class Minimal(TorchPeer):
    """MinConvLSTM: gates of the input alone, and a scan over time."""

    def __init__(self, case: Case, arrays: dict) -> None:
        import torch

        from cnnlstm_mm.layers import MinConvLSTM

        self.layer = MinConvLSTM(case.inputs, case.hidden, padding=case.padding)
        self.state = None
        self.x = torch.from_numpy(arrays['x']).requires_grad_()
        self.parameters = list(self.layer.parameters())


class Bfloat16(TorchPeer):
    """Our layer under autocast."""

    def run(self):
        import torch

        with torch.autocast('cpu', torch.bfloat16):
            return self.layer(self.x, self.state)[0]


class PlainLoop(TorchPeer):
    """Two convolutions per step, under autograd."""

    def cell(self, x, h):
        import torch.nn.functional as F

        p = self.layer
        return F.conv2d(x, p.weight_ih_l0, p.bias_l0, padding=int(p.padding == 'same')) + F.conv2d(
            h, p.weight_hh_l0, padding=1
        )

    def run(self):
        import torch

        size = self.layer.output_size(self.x.shape[-2:])
        h = c = self.x.new_zeros(len(self.x), self.layer.hidden_channels, *size)
        outputs = []
        for x in self.x.unbind(1):
            i, f, g, o = self.cell(x, h).chunk(4, 1)
            c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
            h = torch.sigmoid(o) * torch.tanh(c)
            outputs.append(h)
        return torch.stack(outputs, 1)


class CatCell(PlainLoop):
    """One convolution of cat(x, h) per step, as the popular repositories do."""

    def __init__(self, case: Case, arrays: dict) -> None:
        import torch

        super().__init__(case, arrays)
        p = self.layer
        self.weight = torch.cat([p.weight_ih_l0, p.weight_hh_l0], 1).detach().requires_grad_()
        self.parameters = [self.weight, p.bias_l0]

    def cell(self, x, h):
        import torch
        import torch.nn.functional as F

        return F.conv2d(torch.cat([x, h], 1), self.weight, self.layer.bias_l0, padding=1)


class KerasPeer(Peer):
    """Keras's ConvLSTM2D, on the backend that KERAS_BACKEND names."""

    def __init__(self, case: Case, arrays: dict) -> None:
        import keras

        self.backend = keras.backend.backend()
        # Each backend gets the layout of its convolutions.
        self.first = self.backend == 'torch'
        x = arrays['x'] if self.first else arrays['x'].transpose(0, 1, 3, 4, 2)
        self.layer = keras.layers.ConvLSTM2D(
            case.hidden,
            3,
            padding=case.padding,
            return_sequences=True,
            data_format='channels_first' if self.first else 'channels_last',
        )
        self.layer.build(x.shape)
        self.layer.set_weights(
            [
                arrays['weight_ih_l0'].transpose(2, 3, 1, 0),
                arrays['weight_hh_l0'].transpose(2, 3, 1, 0),
                arrays['bias_l0'],
            ]
        )
        if self.backend == 'torch':
            import torch

            self.x = torch.from_numpy(x).requires_grad_()
            self.parameters = [w.value for w in self.layer.trainable_weights]
        else:
            import jax

            self.x = jax.numpy.asarray(x)
            self.weights = [w.value for w in self.layer.trainable_variables]
            rest = [w.value for w in self.layer.non_trainable_variables]

            def call(weights, x):
                return self.layer.stateless_call(weights, rest, x)[0]

            self.call = jax.jit(call)
            self.grad = jax.jit(jax.grad(lambda weights, x: call(weights, x).sum(), (0, 1)))

    def run(self):
        return self.layer(self.x) if self.first else self.call(self.weights, self.x)

    def forward(self) -> None:
        if self.first:
            TorchPeer.forward(self)
        else:
            self.run().block_until_ready()

    def train(self) -> None:
        if self.first:
            TorchPeer.train(self)
        else:
            import jax

            jax.block_until_ready(self.grad(self.weights, self.x))

    def output(self) -> np.ndarray:
        if self.first:
            return TorchPeer.output(self)
        return np.asarray(self.run()).transpose(0, 1, 4, 2, 3)

    def kept(self) -> int | None:
        return TorchPeer.kept(self) if self.first else None


class Matmul(Peer):
    """Product of two float32 matrices, the speed of the machine."""

    operations = 2 * 2048**3

    def __init__(self, case: Case, arrays: dict) -> None:
        import torch

        self.a, self.b = torch.randn(2, 2048, 2048)

    def forward(self) -> None:
        import torch

        with torch.inference_mode():
            self.a @ self.b


def has_bfloat16() -> bool:
    """Whether this CPU has bfloat16 instructions; others emulate them."""
    import torch

    from cnnlstm_mm.models.acceleration.folded_copy import has_bfloat16

    return has_bfloat16(torch.device('cpu'))


def environment(backend: str, threads: int) -> dict:
    """Environment variables of a process in which Keras runs on ``backend``."""
    return {
        'KERAS_BACKEND': backend,
        'OMP_NUM_THREADS': str(threads),
        'TF_CPP_MIN_LOG_LEVEL': '3',
        'JAX_PLATFORMS': 'cpu',
        'XLA_FLAGS': os.environ.get('XLA_FLAGS', '')
        + f' --xla_cpu_multi_thread_eigen={str(threads > 1).lower()}'
        f' intra_op_parallelism_threads={threads}',
    }
