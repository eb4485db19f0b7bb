#!/usr/bin/env bash
# Packs wheels for a GPU machine without network into benchmarks/gpu/wheels:
#   bash benchmarks/gpu/pack_wheels.sh [PACKAGE ...]
# for Python 3.12 on x86-64 Linux, or PYTHON_VERSION. That machine has torch,
# triton, numpy, OpenCV, pillow, rich, matplotlib, safetensors and pytest;
# PACKAGEs are added.
set -euo pipefail
HERE=$(cd "$(dirname "$0")" && pwd)
WHEELS=${WHEELS:-$HERE/wheels}
CONSTRAINTS=$HERE/../../tools/constraints.txt
PACKAGES=(mmengine mmcv-lite mmaction2 decord addict termcolor yapf platformdirs einops
    importlib_metadata lazy_importer moviepy imageio-ffmpeg==0.6.0 proglog python-dotenv decorator "$@")
PLATFORMS=()
for NAME in manylinux_2_{39,35,34,31,28,27,24,17,12,5}_x86_64 manylinux{2014,2010,1}_x86_64; do
    PLATFORMS+=(--platform "$NAME")
done

mkdir -p "$WHEELS"
for PACKAGE in "${PACKAGES[@]}"; do
    NAME=${PACKAGE%%==*}
    # The tested version by default; of imageio-ffmpeg a smaller one.
    WANTED=$(grep -iE "^${PACKAGE//[-_]/[-_]}==" "$CONSTRAINTS" | head -n 1 || true)
    if compgen -G "$WHEELS/${NAME//-/_}-*.whl" > /dev/null; then continue; fi
    "${PYTHON:-python3}" -m pip download --quiet --disable-pip-version-check --no-deps \
        --only-binary=:all: --implementation cp --python-version "${PYTHON_VERSION:-3.12}" \
        "${PLATFORMS[@]}" --dest "$WHEELS" "${WANTED:-$PACKAGE}" \
        || "${PYTHON:-python3}" -m pip wheel --quiet --disable-pip-version-check --no-deps \
            --wheel-dir "$WHEELS" "${WANTED:-$PACKAGE}"
done
du -ch "$WHEELS"/*.whl
