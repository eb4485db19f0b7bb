"""Takes the times of docs/pictures/timeline.json: python docs/pictures/measure_timeline.py."""

import json
import platform
import sys
import time
from datetime import date
from pathlib import Path
from unittest.mock import patch

import torch

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parents[1]))
from cnnlstm_mm.layers import ConvLSTM, recurrence

COMMAND = 'python docs/pictures/measure_timeline.py'
SHAPE = dict(batch=2, frames=8, inputs=1280, hidden=256, size=7)


class Clock:
    """Processor time of what is called through it, by name."""

    def __init__(self) -> None:
        self.spans: list[tuple[str, float, float]] = []
        self.begin = time.thread_time()

    def timed(self, name, function):
        def call(*args, **kwargs):
            begin = time.thread_time()
            found = function(*args, **kwargs)
            self.spans.append((name, begin - self.begin, time.thread_time() - self.begin))
            return found

        return call


class Convolutions(recurrence.AtOnce):
    """The convolutions of backward, timed."""

    clock: Clock

    def step(self, *args):
        return self.clock.timed('recurrent', super().step)(*args)

    def gradients(self):
        return self.clock.timed('weights', super().gradients)()


def run(layer: ConvLSTM, x: torch.Tensor) -> dict[str, list]:
    """Spans of one forward and one backward of the time loop, in seconds."""
    real_map = recurrence.state_map
    clock = Clock()

    def state_map(*args):
        found = real_map(*args)
        share = found.share

        def timed_share(*args):
            return clock.timed('recurrent', share(*args))

        found.share = timed_share
        return found

    with (
        patch.object(recurrence, 'state_map', state_map),
        patch.object(recurrence, 'AtOnce', Convolutions),
        patch.object(
            recurrence.convolution, 'forward', clock.timed('input', recurrence.convolution.forward)
        ),
        patch.object(
            recurrence.pointwise, 'update_', clock.timed('gates', recurrence.pointwise.update_)
        ),
        patch.object(
            recurrence.pointwise,
            'update_backward_',
            clock.timed('gates', recurrence.pointwise.update_backward_),
        ),
    ):
        found = {}
        for name in ('forward', 'backward'):
            clock.spans, clock.begin = [], time.thread_time()
            Convolutions.clock = clock
            if name == 'forward':
                output, _ = layer(x)
            else:
                output.backward(torch.ones_like(output))
            found[name] = clock.spans
    return found


def main() -> None:
    """Measure and write."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    layer = ConvLSTM(SHAPE['inputs'], SHAPE['hidden'], kernel_size=3)
    size = SHAPE['size']
    x = torch.randn(SHAPE['batch'], SHAPE['frames'], SHAPE['inputs'], size, size)
    x.requires_grad_()
    runs = [run(layer, x) for _ in range(5)]
    best = min(runs, key=lambda spans: sum(each[-1][2] for each in spans.values()))
    cpu = next(
        (line.partition(': ')[2].strip() for line in open('/proc/cpuinfo') if 'model name' in line),
        platform.processor(),
    )
    about = dict(
        command=COMMAND,
        machine=f'{cpu}, one thread',
        torch=torch.__version__,
        date=date.today().isoformat(),
        shape=SHAPE,
        clock='processor time of the thread, seconds; the shortest of five runs',
    )
    for direction, spans in best.items():
        print(
            direction, {n: round(sum(e - b for m, b, e in spans if m == n), 4) for n, *_ in spans}
        )
    spans = {k: [(n, round(b, 5), round(e, 5)) for n, b, e in v] for k, v in best.items()}
    lines = [f'  {json.dumps(k)}: {json.dumps(v)}' for k, v in spans.items()]
    text = json.dumps(dict(about, spans='SPANS'), indent=1)
    text = text.replace('"SPANS"', '{\n' + ',\n'.join(lines) + '\n }')
    (HERE / 'timeline.json').write_text(text + '\n')


if __name__ == '__main__':
    main()
