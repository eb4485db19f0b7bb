"""What it costs a folded copy to compare all weights at each call.

TimeDistributed on clips of 224x224 frames, the same without the comparison, and the backbone alone,
in turns; one thread, minima of CPU time.

    python benchmarks/folded_copy.py
"""

import argparse
import logging
import sys
import time
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))
import torch
from mmengine.registry import init_default_scope

import cnnlstm_mm  # noqa: F401  before mmaction loads
from cnnlstm_mm.models.acceleration.folded_copy import FoldedCopy
from mmaction.registry import MODELS

BACKBONES = dict(
    MobileNetV2=dict(type='MobileNetV2'),
    ResNet18=dict(type='ResNet', depth=18),
    ResNet50=dict(type='ResNet', depth=50),
)
NAMES = 'compared', 'not compared', 'backbone'


def calls(backbone: dict, count: int) -> dict[str, Callable]:
    """What takes turns, by name, on one clip of ``count`` frames."""
    module, sure = (
        MODELS.build(dict(type='TimeDistributed', backbone=backbone, frozen=True)).eval()
        for _ in range(2)
    )
    sure._folded = FoldedCopy(immutable=True)
    x = torch.randn(1, 3, count, 224, 224)
    frames = x[0].transpose(0, 1).contiguous(memory_format=torch.channels_last)
    return dict(zip(NAMES, (lambda: module(x), lambda: sure(x), lambda: module.backbone(frames))))


@torch.no_grad()
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition('\n')[0])
    parser.add_argument('--frames', type=int, nargs='+', default=[1, 8])
    parser.add_argument('--repeats', type=int, default=30)
    args = parser.parse_args()
    torch.set_num_threads(1)
    logging.disable(logging.INFO)
    init_default_scope('mmaction')
    print(f'{"ms":24}' + ''.join(f'{name:>14}' for name in NAMES) + '    cost')
    for name, backbone in BACKBONES.items():
        for count in args.frames:
            peers, times = calls(backbone, count), {}
            for turn in range(args.repeats + 2):
                for peer, call in peers.items():
                    start = time.process_time()
                    call()
                    if turn > 1:
                        times.setdefault(peer, []).append(time.process_time() - start)
            best = {peer: 1e3 * min(values) for peer, values in times.items()}
            cost = 1 - best['not compared'] / best['compared']
            row = ''.join(f'{best[peer]:14.1f}' for peer in NAMES)
            print(f'{name + f", {count} frames":24}{row}{cost:8.0%}', flush=True)


if __name__ == '__main__':
    main()
