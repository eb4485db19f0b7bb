#!/usr/bin/env bash
# Builds the site of docs/ into docs/_build/html; a warning is an error.
#   PYTHON=/path/to/python bash tools/build_docs.sh [OUT]   a Python that has the extra "docs"
# Without PYTHON: that of .venv, where tools/setup_env.sh put the package; the extra is added.
set -euo pipefail
ROOT=$(cd "$(dirname "$0")/.." && pwd)
OUT=$(realpath -m "${1:-$ROOT/docs/_build/html}")
cd "$ROOT"
if [ -z "${PYTHON:-}" ]; then
    source tools/setup_env.sh
    "$PYTHON" -c 'import furo, myst_parser, sphinx' 2>/dev/null \
        || "$PYTHON" -m pip install --quiet -c tools/constraints.txt 'sphinx>=8' 'myst-parser>=4' furo
fi
"$PYTHON" docs/pictures/draw.py
exec "$PYTHON" -m sphinx -W --keep-going -q -b html -d "$OUT/.doctrees" docs "$OUT"
