#!/usr/bin/env bash
# Train with several processes: bash tools/dist_train.sh CONFIG PROCESSES [train.py flags]
# One process a GPU; without CUDA, processes on the CPU over gloo.
# Several machines: set NNODES, NODE_RANK and MASTER_ADDR on each of them.
# MAX_RESTARTS=3: when a process is lost, all start again, so often, from the
# newest checkpoint. See docs/distributed.md.
set -euo pipefail
CONFIG=$1
PROCESSES=$2
HERE=$(cd "$(dirname "$0")" && pwd)

PYTHONPATH="$HERE/..:${PYTHONPATH:-}" \
exec "${PYTHON:-python}" -m torch.distributed.run \
    --nnodes="${NNODES:-1}" --node_rank="${NODE_RANK:-0}" \
    --master_addr="${MASTER_ADDR:-127.0.0.1}" --master_port="${PORT:-29500}" \
    --nproc_per_node="$PROCESSES" --max_restarts="${MAX_RESTARTS:-0}" \
    "$HERE/train.py" "$CONFIG" --launcher pytorch "${@:3}"
