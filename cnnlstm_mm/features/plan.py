"""Who extracts which shard: decided once, by the first process, and written down."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from mmengine.dist import barrier, broadcast_object_list, get_rank, get_world_size

from cnnlstm_mm.storage import write_json

from .store import shard_path

PLAN = 'plan.json'  # in the store, while an extraction runs
Shards = dict[str, list[int]]  # numbers of shards by split


def missing_shards(folder: Path, clips: int, shard_clips: int) -> list[int]:
    """Numbers of the shards that a split's folder lacks.

    Args:
        folder: Of the split.
        clips: Of its list.
        shard_clips: Clips of a shard.
    """
    there = set(os.listdir(folder)) if folder.is_dir() else set()
    count = -(-clips // shard_clips)
    return [shard for shard in range(count) if shard_path(folder, shard).name not in there]


def share_shards(store: Path, missing: Callable[[], Shards]) -> list[Shards]:
    """Share the missing shards among the processes.

    Only the first process looks at the disk: the others might see what it has written since.

    Args:
        store: The folder, to which the plan is written for whoever looks into a run.
        missing: Finds the shards that are to be made.

    Returns:
        The shards of each process.
    """
    barrier()
    plan: list[Any] = [None]
    if get_rank() == 0:
        size, todo = get_world_size(), missing()
        plan = [
            [{split: shards[rank::size] for split, shards in todo.items()} for rank in range(size)]
        ]
        write_json(store / PLAN, dict(shards_by_process=plan[0]))
    broadcast_object_list(plan)
    return plan[0]


def finish_shards(store: Path, missing: Callable[[], Shards]) -> None:
    """Wait for all processes; the first one removes the plan.

    Raises:
        RuntimeError: If shards are still missing.
    """
    barrier()
    left = {split: shards for split, shards in missing().items() if shards}
    if left:
        raise RuntimeError(
            f'{store}: expected all shards after the extraction, got none of {left}; fix: start '
            'the same command again'
        )
    if get_rank() == 0:
        (store / PLAN).unlink(missing_ok=True)
