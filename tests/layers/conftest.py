"""All rows of the table of convolution algorithms, on any CPU."""

import pytest

from cnnlstm_mm.layers import dispatch


@pytest.fixture(autouse=True)
def _fast_products(monkeypatch):
    monkeypatch.setattr(dispatch, 'fast_products', lambda: True)
