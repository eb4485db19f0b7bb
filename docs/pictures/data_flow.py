"""Draws the way of a video through a model: python docs/pictures/data_flow.py OUT.svg."""

import sys
from pathlib import Path

BOXES = [
    ('video', 'decord, PyAV, ...', '#8a8f98'),
    ('TimeDistributed', 'any 2-D backbone', '#2f6fb5'),
    ('recurrent neck', 'ConvLSTM, LSTM, yours', '#b5532f'),
    ('head', 'I3DHead, PerStepHead, ...', '#4d8b3d'),
    ('scores', '[N, classes]', '#8a8f98'),
]
ARROWS = ['[N, 3, T, H, W]', '[N, C, T, h, w]', "[N, C', T', h', w']", '']
WIDTH, GAP, HEIGHT, TOP = 190, 122, 78, 50


def box(k: int, name: str, below: str, color: str) -> str:
    """One box with its name and a line below it."""
    x = 10 + k * (WIDTH + GAP)
    middle = x + WIDTH / 2
    return (
        f'<rect x="{x}" y="{TOP}" width="{WIDTH}" height="{HEIGHT}" rx="10" fill="{color}"/>\n'
        f'<text class="in" x="{middle}" y="{TOP + 34}" font-weight="bold">{name}</text>\n'
        f'<text class="in" x="{middle}" y="{TOP + 60}" font-size="15">{below}</text>\n'
    )


def arrow(k: int, shape: str) -> str:
    """The arrow after a box, with the shape of what passes."""
    x = 10 + k * (WIDTH + GAP) + WIDTH
    y = TOP + HEIGHT / 2
    return (
        f'<path d="M{x + 8} {y}H{x + GAP - 14}m-9 -7l9 7l-9 7" class="line"/>\n'
        f'<text class="out" x="{x + GAP / 2}" y="{y - 14}" font-size="14">{shape}</text>\n'
    )


def drawing() -> str:
    """The SVG; its colours follow the reader's theme."""
    width = 20 + len(BOXES) * WIDTH + len(ARROWS) * GAP
    loop_x = 10 + 2 * (WIDTH + GAP)
    parts = [box(k, *one) for k, one in enumerate(BOXES)]
    parts += [arrow(k, shape) for k, shape in enumerate(ARROWS)]
    parts.append(
        f'<path d="M{loop_x + WIDTH - 40} {TOP - 4}v-22h-{WIDTH - 80}v20m-7 -9l7 9l7 -9" '
        'class="line"/>\n'
        f'<text class="out" x="{loop_x + WIDTH / 2}" y="18" font-size="15">state</text>\n'
    )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} 145" '
        'font-family="sans-serif" font-size="19" text-anchor="middle" role="img">\n'
        '<title>video, backbone on every frame, recurrent neck, head, scores</title>\n'
        '<style>.in{fill:#fff}.out{fill:#444}.line{fill:none;stroke:#777;stroke-width:2.5}'
        '@media (prefers-color-scheme:dark){.out{fill:#ccc}.line{stroke:#aaa}}</style>\n'
        f'{"".join(parts)}</svg>\n'
    )


if __name__ == '__main__':
    Path(sys.argv[1]).write_text(drawing(), encoding='utf-8')
