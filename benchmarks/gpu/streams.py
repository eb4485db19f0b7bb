"""Latency of a stream: from a uint8 frame on the CPU to its scores there."""

import statistics
import time
from itertools import product

import numpy as np
import torch
from common import ROOT, arguments, name_of, write
from mmengine.config import Config

from cnnlstm_mm.streaming import StreamingRecognizer

MODELS = (
    'mobilenetv2_lstm_ucf101',
    'mobilenetv2_convlstm_ucf101',
    'mobilenetv2_lightconvlstm_ucf101',
)
WARM_UP = 10


def main() -> None:
    args = arguments(__doc__)
    models = ('mobilenet_convlstm_quickstart',) if args.rehearse else MODELS
    count = 20 if args.rehearse else 100
    frames = np.random.default_rng(0).integers(0, 256, (8, 240, 320, 3), np.uint8)
    rows = []
    for model in models:
        for dtype in (torch.float32, torch.bfloat16):
            for streams, graph in product((1, 8), (False,) if args.rehearse else (False, True)):
                cfg = Config.fromfile(ROOT / f'configs/{model}.py')
                rec = StreamingRecognizer(
                    cfg, device=args.device, dtype=dtype, check='first', cuda_graph=graph
                )
                state, times = None, []
                for k in range(count + WARM_UP):
                    start = time.perf_counter()
                    scores, state = rec.step(frames[:streams], state)
                    scores.cpu()
                    times.append(time.perf_counter() - start)
                times = times[WARM_UP:]
                rows.append(
                    dict(
                        model=model,
                        dtype=str(dtype),
                        streams=streams,
                        cuda_graph=graph,
                        median_ms=1e3 * statistics.median(times),
                        p95_ms=1e3 * float(np.percentile(times, 95)),
                    )
                )
                write(args.json, dict(device=name_of(args.device), rows=rows))
                print(rows[-1])


if __name__ == '__main__':
    main()
