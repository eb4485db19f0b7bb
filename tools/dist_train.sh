#!/usr/bin/env bash
# Train with several processes: bash tools/dist_train.sh CONFIG PROCESSES [train.py flags]
# One process per GPU; without CUDA, processes on the CPU over gloo.
# Several machines: set NNODES, NODE_RANK and MASTER_ADDR on each of them.
# MAX_RESTARTS=3: when a process dies, all restart from the newest checkpoint,
# at most three times. See docs/distributed.md.
set -euo pipefail
CONFIG=$1
PROCESSES=$2
HERE=$(cd "$(dirname "$0")" && pwd)
ADDRESS=${MASTER_ADDR:-127.0.0.1}

if [ "${MAX_RESTARTS:-0}" -gt 0 ]; then
    # torchrun's fixed rendezvous, and any store that is shared with it, keeps
    # the addresses of the previous processes: restarted ones may connect to a
    # dead one.
    export TORCH_DISABLE_SHARE_RDZV_TCP_STORE=1
    RENDEZVOUS=(--max_restarts="$MAX_RESTARTS" --rdzv_backend=c10d
        --rdzv_id="${RUN_ID:-train}" --rdzv_endpoint="$ADDRESS:${PORT:-29500}")
    if [ "${NNODES:-1}" = 1 ]; then
        RENDEZVOUS+=(--local_addr=127.0.0.1)
    fi
else
    RENDEZVOUS=(--node_rank="${NODE_RANK:-0}" --master_addr="$ADDRESS"
        --master_port="${PORT:-29500}")
fi

PYTHONPATH="$HERE/..:${PYTHONPATH:-}" \
exec "${PYTHON:-python}" -m torch.distributed.run \
    --nnodes="${NNODES:-1}" --nproc_per_node="$PROCESSES" "${RENDEZVOUS[@]}" \
    "$HERE/train.py" "$CONFIG" --launcher pytorch "${@:3}"
