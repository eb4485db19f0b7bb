#!/usr/bin/env bash
# Makes the environment if it is missing, then runs the linter, the formatter's check, the type
# checker and all tests, one worker per core, and prints the coverage of the package.
#   bash tools/run_tests.sh                everything
#   bash tools/run_tests.sh --fast         no tests marked slow, no coverage
#   bash tools/run_tests.sh PYTEST_ARGS    only these tests, in one process
set -euo pipefail
source "$(dirname "$0")/setup_env.sh"
FAST=()
if [ "${1:-}" = --fast ]; then
    FAST=(-m 'not slow')
    shift
fi
if [ $# -gt 0 ]; then
    say "Tests"
    exec "$PYTHON" -m pytest "${FAST[@]}" "$@"
fi
say "ruff"
"$PYTHON" -m ruff check .
"$PYTHON" -m ruff format --check --quiet .
say "mypy"
"$PYTHON" -m mypy
say "Tests"
# A file's tests share their data sets and checkpoints: a file runs in one worker.
WORKERS=(-n logical --dist loadfile --no-loadscope-reorder)
if [ ${#FAST[@]} -gt 0 ]; then
    exec "$PYTHON" -m pytest "${WORKERS[@]}" "${FAST[@]}"
fi
"$PYTHON" -m coverage erase
# sysmon is the fastest tracer, from Python 3.12 on.
"$PYTHON" -c 'import sys; sys.exit(sys.version_info < (3, 12))' && export COVERAGE_CORE=sysmon
COVERAGE_PROCESS_START=$ROOT/pyproject.toml "$PYTHON" -m pytest "${WORKERS[@]}"
say "Coverage of the package, in percent of its lines"
"$PYTHON" -m coverage combine --quiet
"$PYTHON" -m coverage report
