#!/usr/bin/env bash
# Makes the environment if it is not there, then runs the linter, the type
# checker and all tests, and prints how much of the package they ran.
# With pytest's arguments, such as a file, it runs these tests and nothing
# else: bash tools/run_tests.sh [pytest arguments]
set -euo pipefail
source "$(dirname "$0")/setup_env.sh"
if [ $# -gt 0 ]; then
    say "Tests"
    exec "$PYTHON" -m pytest "$@"
fi
say "ruff"
"$PYTHON" -m ruff check .
"$PYTHON" -m ruff format --check --quiet .
say "mypy"
"$PYTHON" -m mypy
say "Tests"
"$PYTHON" -m coverage run -m pytest
say "Coverage of the package, in percent of its lines"
"$PYTHON" -m coverage report
