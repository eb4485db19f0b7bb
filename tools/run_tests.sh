#!/usr/bin/env bash
# Makes the environment if it is missing, then runs the linter, the formatter's check, the type
# checker and all tests, one worker per core.
#   bash tools/run_tests.sh                everything
#   bash tools/run_tests.sh --coverage     and the coverage of the package, as in CI
#   bash tools/run_tests.sh --fast         no tests marked slow
#   bash tools/run_tests.sh PYTEST_ARGS    only these tests, in one process
set -euo pipefail
source "$(dirname "$0")/setup_env.sh"
FAST=() COVERAGE=
while [ $# -gt 0 ]; do
    case $1 in
        --fast) FAST=(-m 'not slow') ;;
        --coverage) COVERAGE=yes ;;
        *) break ;;
    esac
    shift
done
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
WORKERS=(-n logical --dist loadfile --no-loadscope-reorder --durations=15)
if [ -z "$COVERAGE" ]; then
    exec "$PYTHON" -m pytest "${WORKERS[@]}" "${FAST[@]}"
fi
"$PYTHON" -m coverage erase
# sysmon is the fastest tracer, from Python 3.12 on.
"$PYTHON" -c 'import sys; sys.exit(sys.version_info < (3, 12))' && export COVERAGE_CORE=sysmon
COVERAGE_PROCESS_START=$ROOT/pyproject.toml "$PYTHON" -m pytest "${WORKERS[@]}" "${FAST[@]}"
say "Coverage of the package, in percent of its lines"
"$PYTHON" -m coverage combine --quiet
"$PYTHON" -m coverage report
