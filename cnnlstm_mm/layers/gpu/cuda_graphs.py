"""CUDA graphs of functions from tensors to tensors, one for each shape."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_map_only

MOST_GRAPHS = 8
MOST_BYTES = 128 << 20  # of a graph's inputs; what is larger does not wait for launches

Inputs = tuple[Tensor | None, ...]


class CudaGraph:
    """The launches of ``function(*inputs)``, recorded once.

    Args:
        function: returns tensors in tuples and lists; must not wait for the
            GPU.
        inputs: on one GPU; their values are copied.
    """

    @torch.inference_mode(False)  # later calls may be of training
    def __init__(self, function: Callable[..., Any], inputs: Inputs) -> None:
        self.inputs = tuple(None if t is None else t.detach().clone() for t in inputs)
        self.graph = torch.cuda.CUDAGraph()
        stream = torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            function(*self.inputs)  # compiles and chooses algorithms, which a capture cannot
        torch.cuda.current_stream().wait_stream(stream)
        with torch.cuda.graph(self.graph, stream=stream, capture_error_mode='thread_local'):
            self.outputs = function(*self.inputs)

    def __call__(self, inputs: Inputs) -> Any:
        """The function's result for other values, in new memory."""
        for kept, given in zip(self.inputs, inputs):
            if kept is not None:
                kept.copy_(given)
        self.graph.replay()
        return tree_map_only(Tensor, torch.clone, self.outputs)


class GraphCache:
    """The most recently used graphs.

    Args:
        record: makes a graph from a function and its inputs.
        most: how many are kept.
    """

    def __init__(
        self,
        record: Callable[[Callable[..., Any], Inputs], Callable[[Inputs], Any]] = CudaGraph,
        most: int = MOST_GRAPHS,
    ) -> None:
        self.record, self.most = record, most
        self.graphs: OrderedDict[Hashable, Callable[[Inputs], Any]] = OrderedDict()
        self.lock = threading.Lock()

    def __call__(self, name: Hashable, function: Callable[..., Any], inputs: Inputs) -> Any:
        """``function(*inputs)``, by the graph of this name and of the inputs' shapes.

        If there is none, it is recorded.
        """
        stream = torch.cuda.current_stream().cuda_stream if torch.cuda.is_available() else 0
        shapes = tuple(None if t is None else (t.shape, t.dtype, t.device) for t in inputs)
        key = name, shapes, stream
        # Two threads must not both write the inputs before one has its result.
        with self.lock:
            if key not in self.graphs:
                self.graphs[key] = self.record(function, inputs)
                if len(self.graphs) > self.most:
                    self.graphs.popitem(last=False)
            self.graphs.move_to_end(key)
            return self.graphs[key](inputs)


def can_replay(inputs: Inputs) -> bool:
    """Whether a graph of these inputs can be recorded, and is small enough."""
    tensors = [t for t in inputs if t is not None]
    return (
        all(t.is_cuda for t in tensors)
        and sum(t.numel() * t.element_size() for t in tensors) <= MOST_BYTES
        and not torch.cuda.is_current_stream_capturing()
    )


replay = GraphCache()
