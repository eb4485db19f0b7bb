"""Kinds of lists x tools: each cell works, or is refused in a sentence before work starts."""

import json

import pytest
from helpers.list_matrix import KINDS, TOOLS, page, run_kind
from helpers.support import ROOT

pytestmark = pytest.mark.slow

SMALL = ('predict', 'complexity', 'doctor', 'stream_demo', 'export_onnx')


def show(matrix):
    for kind, cells in matrix.items():
        print(f'{kind:26}', *(f'{tool}: {state};' for tool, (state, _) in cells.items()))


@pytest.mark.parametrize('kind', ['CSV with a header', 'no labels'])
def test_lists_go_through_the_tools_that_run_no_epoch(kind, tmp_path):
    cells = run_kind(kind, tmp_path / 'place', SMALL)
    show({kind: cells})
    broken = {tool: text[-2000:] for tool, (state, text) in cells.items() if state == 'broken'}
    assert not broken
    refused = {tool for tool, (state, _) in cells.items() if state == 'refused'}
    assert refused == ({'doctor', 'export_onnx'} if kind == 'no labels' else set())


def test_the_matrix_has_no_empty_cell_and_is_that_of_the_docs(tmp_path):
    matrix = {}
    for number, kind in enumerate(KINDS):
        place = tmp_path / str(number)
        matrix[kind] = run_kind(kind, place)
        if matrix[kind]['report'][0] == 'works':
            (run,) = json.loads((place / 'results.json').read_text())['runs']
            assert not [note for note in run['notes'] if 'left out' in note], kind
            if matrix[kind]['test'][0] == 'works':
                score = run['mean_ap' if kind == 'several labels' else 'top1']
                assert score is not None and len(run['per_class']) == 3, kind
    show(matrix)
    broken = {
        (kind, tool): text[-2000:]
        for kind, cells in matrix.items()
        for tool, (state, text) in cells.items()
        if state == 'broken'
    }
    assert not broken
    assert all(set(cells) == set(TOOLS) for cells in matrix.values())
    assert page(matrix) == (ROOT / 'docs/lists.md').read_text()
