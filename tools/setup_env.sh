# Makes .venv with the tested versions, once; sourced by quickstart.sh and
# run_tests.sh. PYTHON=/path/to/python chooses another Python.
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
    for name in ${PYTHON:-python3.11 python3.12 python3.13 python3.10 python3 python}; do
        if supported "$name"; then echo "$name"; return; fi
    done
    fail "no Python 3.10 to 3.13 found${PYTHON:+ at PYTHON=$PYTHON}; install one, or name it: PYTHON=/path/to/python bash $0"
}

STAMP=.venv/.cnnlstm_mm
WANTED=$(cat setup.cfg tools/constraints.txt | cksum)
if [ ! -f $STAMP ] || [ "$(cat $STAMP)" != "$WANTED" ] || [ ! -x .venv/bin/python ]; then
    BASE_PYTHON=$(find_python)
    say "Environment: .venv with $("$BASE_PYTHON" --version) (about a minute, once)"
    "$BASE_PYTHON" -m venv .venv \
        || fail "venv failed: on Debian and Ubuntu run apt-get install python3-venv"
    # torch first: on Linux this is the CUDA build unless pip is pointed at
    # another index or folder of wheels.
    .venv/bin/python -m pip install --quiet --disable-pip-version-check \
        "$(grep '^torch==' tools/constraints.txt)"
    .venv/bin/python -m pip install --quiet --disable-pip-version-check \
        --constraint tools/constraints.txt --editable '.[test]'
    # Without dependencies: its torchvision may not match this torch.
    .venv/bin/python -m pip install --quiet --disable-pip-version-check \
        --no-deps "$(grep '^timm==' tools/constraints.txt)"
    echo "$WANTED" > $STAMP
else
    say "Environment: .venv is up to date"
fi
.venv/bin/python -c 'import cv2' 2>/dev/null \
    || fail "OpenCV does not import ($(.venv/bin/python -c 'import cv2' 2>&1 | tail -n 1)); fix: .venv/bin/python -m pip uninstall -y opencv-python opencv-contrib-python && .venv/bin/python -m pip install -c tools/constraints.txt opencv-python-headless"
PYTHON=$ROOT/.venv/bin/python
export PYTHON
