# Makes an environment, once; sourced by quickstart.sh and run_tests.sh.
#   PYTHON=/path/to/python   another Python
#   VENV=.venv-3.13          another folder; default: .venv
#   VERSIONS=newest          of the packages: tested (default), newest, or floor, the oldest
ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
cd "$ROOT"

say() { printf '\n== %s\n' "$*"; }
fail() { printf 'ERROR: %s\n' "$*" >&2; exit 1; }

# Whether a Python satisfies setup.cfg's python_requires.
supported() {
    "$1" -c '
import configparser, re, sys
setup = configparser.ConfigParser()
setup.read("setup.cfg")
low, high = re.findall(r"3\.(\d+)", setup["options"]["python_requires"])
sys.exit(not int(low) <= sys.version_info[1] < int(high))' 2>/dev/null
}

find_python() {
    local name
    for name in ${PYTHON:-python3.11 python3.12 python3.13 python3.14 python3.10 python3 python}; do
        if supported "$name"; then echo "$name"; return; fi
    done
    fail "no Python 3.10 to 3.14 found${PYTHON:+ at PYTHON=$PYTHON}; install one, or name it: PYTHON=/path/to/python bash $0"
}

VENV=${VENV:-.venv}
case ${VERSIONS:-tested} in
    tested) CONSTRAINTS=tools/constraints.txt ;;
    floor) CONSTRAINTS=tools/constraints-floor.txt ;;
    newest) CONSTRAINTS=/dev/null ;;
    *) fail "expected VERSIONS to be tested, newest or floor, got $VERSIONS" ;;
esac
pip_install() { "$VENV/bin/python" -m pip install --quiet --disable-pip-version-check "$@"; }
pinned() { grep "^$1==" $CONSTRAINTS || echo "$1"; }

STAMP=$VENV/.cnnlstm_mm
WANTED=$(cat setup.cfg $CONSTRAINTS | cksum)
if [ ! -f "$STAMP" ] || [ "$(cat "$STAMP")" != "$WANTED" ] || [ ! -x "$VENV/bin/python" ]; then
    BASE_PYTHON=$(find_python)
    say "Environment: $VENV with $("$BASE_PYTHON" --version) (about a minute, once)"
    "$BASE_PYTHON" -m venv "$VENV" \
        || fail "venv failed: on Debian and Ubuntu run apt-get install python3-venv"
    # torch first: on Linux this is the CUDA build unless pip is pointed at
    # another index or folder of wheels.
    pip_install "$(pinned torch)"
    pip_install --constraint $CONSTRAINTS --editable '.[test]'
    # Without dependencies: its torchvision may not match this torch.
    pip_install --no-deps "$(pinned timm)"
    echo "$WANTED" > "$STAMP"
else
    say "Environment: $VENV is up to date"
fi
"$VENV/bin/python" -c 'import cv2' 2>/dev/null \
    || fail "OpenCV does not import ($("$VENV/bin/python" -c 'import cv2' 2>&1 | tail -n 1)); fix: $VENV/bin/python -m pip uninstall -y opencv-python opencv-contrib-python && $VENV/bin/python -m pip install -c tools/constraints.txt opencv-python-headless"
PYTHON=$ROOT/$VENV/bin/python
export PYTHON
