#!/usr/bin/env bash
# Makes the environment if it is not there and runs all tests:
# bash tools/run_tests.sh [pytest arguments]
set -euo pipefail
source "$(dirname "$0")/setup_env.sh"
say "Tests"
exec "$PYTHON" -m pytest "$@"
