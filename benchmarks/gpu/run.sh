#!/usr/bin/env bash
# GPU benchmark in under eight minutes, with all results in one JSON; see README.md.
#   bash benchmarks/gpu/run.sh [--rehearse] [--out FOLDER] [--only STEP ...]
# PYTHON chooses the Python that has torch; WHEELS the folder of pack_wheels.sh.
set -euo pipefail
HERE=$(cd "$(dirname "$0")" && pwd)
PYTHON=${PYTHON:-python3}
WHEELS=${WHEELS:-$HERE/wheels}

if compgen -G "$WHEELS/*.whl" > /dev/null; then
    SITE=$(mktemp -d)
    trap 'rm -rf "$SITE"' EXIT
    "$PYTHON" -m pip install --quiet --no-index --no-deps --no-compile --target "$SITE" \
        "$WHEELS"/*.whl
    export PYTHONPATH="$SITE${PYTHONPATH:+:$PYTHONPATH}"
fi
export PYTHONPATH="$HERE/../..${PYTHONPATH:+:$PYTHONPATH}" PYTHONUNBUFFERED=1
"$PYTHON" "$HERE/run.py" "$@"
