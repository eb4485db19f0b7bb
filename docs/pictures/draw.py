"""Draws the pictures of the site in two themes: python docs/pictures/draw.py [FOLDER].

Each is NAME-light.svg and NAME-dark.svg. Text is at least 16 of 720 units high, so that it can be
read on a phone, where a picture is half as wide as here. Figures come from the tables of the pages
and from ``timeline.json`` and ``speed.json``, which say how they were measured.
"""

import json
import re
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
WIDTH = 720
THEMES = {
    'light': dict(
        text='#1f2328', soft='#57606a', line='#8c959f', inside='#ffffff', grey='#6e7781',
        blue='#2f6fb5', orange='#b5532f', green='#3f7d32', violet='#7a4fa3', pale='#d0d7de',
    ),
    'dark': dict(
        text='#e6e8eb', soft='#a5adb7', line='#7d8590', inside='#0d1117', grey='#98a1ab',
        blue='#58a0e8', orange='#e58a5f', green='#6cb85c', violet='#b48ae0', pale='#3d444d',
    ),
}  # fmt: skip


class Drawing:
    """Shapes and text; colours are names that a theme has."""

    def __init__(self, title: str, height: int) -> None:
        self.title, self.height, self.parts = title, height, []

    def box(self, x, y, width, height, color, radius=8) -> None:
        self.parts.append(
            f'<rect x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{height:.1f}" '
            f'rx="{radius}" fill="{{{color}}}"/>'
        )

    def text(self, x, y, text, color='text', size=17, anchor='start', bold=False) -> None:
        weight = ' font-weight="bold"' if bold else ''
        text = text.replace('&', '&amp;').replace('<', '&lt;')
        self.parts.append(
            f'<text x="{x:.1f}" y="{y:.1f}" fill="{{{color}}}" font-size="{size}" '
            f'text-anchor="{anchor}"{weight}>{text}</text>'
        )

    def path(self, d, color='line', dashed=False) -> None:
        dash = ' stroke-dasharray="5 5"' if dashed else ''
        self.parts.append(
            f'<path d="{d}" fill="none" stroke="{{{color}}}" stroke-width="2.5"{dash}/>'
        )

    def down(self, x, y, length) -> None:
        """An arrow."""
        self.path(f'M{x} {y}v{length}m-7 -8l7 8l7 -8')

    def svg(self, theme: str) -> str:
        body = re.sub(r'\{(\w+)\}', lambda m: THEMES[theme][m[1]], '\n'.join(self.parts))
        return (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {self.height}" '
            f'font-family="Helvetica, Arial, sans-serif" role="img">\n'
            f'<title>{self.title}</title>\n{body}\n</svg>\n'
        )


def data_flow() -> Drawing:
    """The way of a video through a model."""
    rows = [
        ('video', 'grey', 'clips of a list, or a stream', '[N, 3, T, H, W]'),
        ('TimeDistributed', 'blue', 'a 2-D backbone on every frame', '[N, C, T, h, w]'),
        ('recurrent neck', 'orange', 'ConvLSTM, LSTM or your own', "[N, C', T', h', w']"),
        ('head', 'green', 'classes, each step, or sentences', '[N, classes]'),
        ('scores', 'grey', '', ''),
    ]
    drawing = Drawing('video, backbone on every frame, recurrent neck, head, scores', 442)
    for k, (name, color, remark, shape) in enumerate(rows):
        y = 8 + 94 * k
        drawing.box(20, y, 240, 50, color)
        drawing.text(140, y + 32, name, 'inside', 20, 'middle', bold=True)
        drawing.text(366 if color == 'orange' else 290, y + 32, remark, size=19)
        if shape:
            drawing.down(140, y + 53, 38)
            drawing.text(160, y + 79, shape, 'soft')
    y = 8 + 94 * 2
    drawing.path(f'M264 {y + 12}h34v28h-30m8 -7l-8 7l8 7')
    drawing.text(304, y + 22, 'state', 'soft', 16)
    return drawing


def streams() -> Drawing:
    """Streams that begin, end and move while others go on."""
    drawing = Drawing('three streams that share one batch', 330)
    rows = [
        ('camera A', 'blue', range(0, 5), 'state.select: A ends'),
        ('camera B', 'orange', range(2, 9), 'StreamState.cat: B joins'),
        ('camera C', 'green', range(5, 9), ''),
    ]
    left, step = 118, 66
    for k, (name, color, frames, _) in enumerate(rows):
        y = 58 + 68 * k
        drawing.text(8, y + 29, name, size=19)
        for t in frames:
            x = left + step * t
            drawing.box(x, y, 44, 44, color)
            drawing.text(x + 22, y + 29, f'{t - frames[0] + 1}', 'inside', 19, 'middle')
            if t != frames[-1]:
                drawing.path(f'M{x + 46} {y + 22}h15m-6 -5l6 5l-6 5')
    for t in range(9):
        x = left + step * t
        drawing.path(f'M{x - 5} 40v228', 'pale', dashed=True)
    drawing.text(left, 26, 'each column is one step of one batch; arrows carry a state', 'soft')
    for t, text in ((2, 'B joins: cat'), (5, 'A ends, C joins: select, cat')):
        drawing.path(f'M{left + step * t - 5} 40v246', 'soft')
        drawing.text(left + step * t, 288, text)
    drawing.text(left, 318, 'Scores are those of each stream run alone.', 'soft')
    return drawing


def timeline() -> Drawing:
    """When the layer computes what, to scale."""
    found = json.loads((HERE / 'timeline.json').read_text())
    names = {
        'input': ('blue', 'input convolution, all frames at once'),
        'recurrent': ('orange', 'recurrent convolution, step by step'),
        'gates': ('green', 'gates and cell'),
        'weights': ('violet', 'gradients of weights and input, at once'),
        'rest': ('pale', 'everything else'),
    }
    drawing = Drawing('forward and backward of a ConvLSTM over time', 382)
    longest = max(spans[-1][2] for spans in found['spans'].values())
    scale = (WIDTH - 24) / longest
    for k, (direction, spans) in enumerate(found['spans'].items()):
        y = 12 + 108 * k
        drawing.text(12, y + 18, f'{direction}, {1e3 * spans[-1][2]:.0f} ms', size=19, bold=True)
        drawing.box(12, y + 30, scale * spans[-1][2], 52, 'pale', 0)
        for name, begin, end in spans:
            width = max(scale * (end - begin), 1)
            drawing.box(12 + scale * begin, y + 30, width, 52, names[name][0], 0)
    for k, (color, meaning) in enumerate(names.values()):
        y = 232 + 30 * k
        drawing.box(12, y, 26, 20, color, 4)
        drawing.text(48, y + 17, meaning, size=19)
    return drawing


def bars(title: str, groups: list, unit: str, limit: float) -> Drawing:
    """Horizontal bars: groups of (name, [(label, value, color)]); the unit formats a value."""
    count = sum(len(rows) for _, rows in groups)
    drawing = Drawing(title, 12 + 40 * len(groups) + 34 * count)
    left, y = 200, 6
    for name, rows in groups:
        drawing.text(8, y + 24, name, size=19, bold=True)
        y += 36
        for label, value, color in rows:
            width = max((WIDTH - left - 110) * value / limit, 2)
            drawing.text(left - 10, y + 20, label, size=18, anchor='end')
            drawing.box(left, y, width, 26, color, 3)
            drawing.text(left + width + 8, y + 20, unit.format(value), 'soft', 18)
            y += 34
        y += 4
    return drawing


def speed() -> Drawing:
    """Times of a layer and its peers, in times of the layer's."""
    rows = json.loads((HERE / 'speed.json').read_text())['rows']
    groups = []
    for title, mode in (('forward', 'forward'), ('forward and backward', 'train')):
        times = {row['peer']: row['seconds'] for row in rows if row['mode'] == mode}
        groups.append(
            (
                title,
                [
                    (name, seconds / times['ours'], 'orange' if 'ours' in name else 'grey')
                    for name, seconds in sorted(times.items(), key=lambda item: -item[1])
                ],
            )
        )
    limit = max(value for _, rows in groups for _, value, _ in rows)
    return bars('times of the ConvLSTM layer and its peers', groups, '{:.2f} x', limit)


def probe() -> Drawing:
    """What is left of three models when frames are in another order; the table of order.md."""
    text = (HERE.parent / 'order.md').read_text(encoding='utf-8')
    table = re.search(r'^\| top-1 \| in order.*\n\|.*\n((?:\|.*\n)+)', text, re.M)
    head = re.search(r'^\| top-1 \| (in order.*) \|$', text, re.M)[1].split(' | ')
    rows = [[c.strip() for c in line.strip('|').split('|')] for line in table[1].splitlines()]
    colors = ['grey', 'orange', 'blue']
    groups = [
        (order, [(row[0], float(row[k + 1].rstrip(' %')), color) for row, color in zip(rows, colors)])
        for k, order in enumerate(head)
    ]  # fmt: skip
    return bars('top-1 of three models with frames in other orders', groups, '{:.0f} %', 100)


PICTURES = (data_flow, streams, timeline, speed, probe)


def main(folder: Path = HERE) -> None:
    """Write all of them."""
    for picture in PICTURES:
        for theme in THEMES:
            path = folder / f'{picture.__name__}-{theme}.svg'
            path.write_text(picture().svg(theme), encoding='utf-8')


if __name__ == '__main__':
    main(*map(Path, sys.argv[1:]))
