"""All rows of the table of convolution algorithms, on any CPU; fresh memory holds NaN."""

import pytest
import torch

from cnnlstm_mm.layers import dispatch


@pytest.fixture(autouse=True)
def _fast_products(monkeypatch):
    monkeypatch.setattr(dispatch, 'fast_products', lambda: True)


@pytest.fixture(autouse=True)
def _nan_in_fresh_memory():
    """What is read before it is written shows, as PyTorch's deterministic mode fills it."""
    torch.use_deterministic_algorithms(not torch.cuda.is_available())
    yield
    torch.use_deterministic_algorithms(False)
