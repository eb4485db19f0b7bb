#!/usr/bin/env bash
# Makes the environment if it is missing, then runs the linter, the formatter's check, the type
# checker and all tests, one worker more than there are cores.
#   bash tools/run_tests.sh                  everything
#   bash tools/run_tests.sh --coverage       and the coverage of the package, as in CI
#   bash tools/run_tests.sh --fast           no tests marked slow
#   bash tools/run_tests.sh --python 3.13    with another Python, in .venv-3.13
#   bash tools/run_tests.sh --versions newest   packages: tested, newest or floor, in .venv-newest
#   bash tools/run_tests.sh PYTEST_ARGS      only these tests, in one process
set -euo pipefail
FAST=() COVERAGE= WANTED_PYTHON=
while [ $# -gt 0 ]; do
    case $1 in
        --fast) FAST=(-m 'not slow') ;;
        --coverage) COVERAGE=yes ;;
        --python) WANTED_PYTHON=$2; shift ;;
        --versions) export VERSIONS=$2; shift ;;
        *) break ;;
    esac
    shift
done
if [ -n "$WANTED_PYTHON" ]; then
    # Also those that pyenv has and has not put on the path.
    PYENV=$(ls -d "${PYENV_ROOT:-$HOME/.pyenv}/versions/$WANTED_PYTHON".*/bin/python 2>/dev/null || true)
    PYTHON="$PYENV python$WANTED_PYTHON"
fi
if [ -n "$WANTED_PYTHON${VERSIONS:-}" ]; then
    VENV=.venv${WANTED_PYTHON:+-$WANTED_PYTHON}${VERSIONS:+-$VERSIONS}
fi
source "$(dirname "$0")/setup_env.sh"
if [ $# -gt 0 ]; then
    say "Tests"
    exec "$PYTHON" -m pytest "${FAST[@]}" "$@"
fi
say "ruff"
"$PYTHON" -m ruff check .
"$PYTHON" -m ruff format --check --quiet .
# The type checker uses one core: it runs beside the tests, and reports after them.
TYPES=$(mktemp)
"$PYTHON" -m mypy > "$TYPES" 2>&1 &
CHECKER=$!
say "Tests, and mypy beside them"
# A file's tests share their data sets and checkpoints: a file runs in one worker. One worker more
# than cores, because tests wait for the processes that they start.
CORES=$("$PYTHON" -c 'import os; print(os.cpu_count())')
TESTS=(-m pytest -n $((CORES + 1)) --dist loadfile --no-loadscope-reorder --durations=15)
STATUS=0
if [ -n "$COVERAGE" ]; then
    "$PYTHON" -m coverage erase
    # sysmon is the fastest tracer, from Python 3.12 on.
    "$PYTHON" -c 'import sys; sys.exit(sys.version_info < (3, 12))' && export COVERAGE_CORE=sysmon
    export COVERAGE_PROCESS_START=$ROOT/pyproject.toml
fi
"$PYTHON" "${TESTS[@]}" "${FAST[@]}" || STATUS=$?
say "mypy"
wait $CHECKER || STATUS=$?
cat "$TYPES" && rm "$TYPES"
if [ -n "$COVERAGE" ]; then
    say "Coverage of the package, in percent of its lines"
    unset COVERAGE_PROCESS_START
    "$PYTHON" -m coverage combine --quiet
    "$PYTHON" -m coverage report
fi
exit $STATUS
