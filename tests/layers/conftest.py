"""One thread, for the tensors are tiny, and all rows of the table of algorithms on any CPU."""

import pytest
import torch

from cnnlstm_mm.layers import dispatch


@pytest.fixture(autouse=True)
def _one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(autouse=True)
def _fast_products(monkeypatch):
    monkeypatch.setattr(dispatch, 'fast_products', lambda: True)
