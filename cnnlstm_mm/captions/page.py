"""HTML page of captions, references and frames."""

import base64
import html
from collections.abc import Mapping, Sequence
from typing import Any

import cv2
import numpy as np

FRAMES, HEIGHT = 4, 96  # of a clip on the page
STYLE = """
body { font: 15px/1.4 system-ui, sans-serif; margin: 2em auto; max-width: 60em; padding: 0 1em }
article { border-top: 1px solid #ccc; padding: 1em 0 }
img { height: 96px; margin-right: 4px }
.caption { font-weight: 600 }
.exact { color: #17692f }
.file, li { color: #555 }
table { border-collapse: collapse } td, th { padding: .2em .8em; text-align: right }
"""


def caption_page(
    scores: Mapping[str, float], clips: Sequence[Mapping[str, Any]], total: int
) -> str:
    """A page that needs no other file.

    Args:
        scores: Of the whole list.
        clips: ``file``, ``caption``, ``references``, ``CIDEr-D`` and ``exact_match`` of each.
        total: Clips of the list.
    """
    names = ''.join(f'<th>{html.escape(name)}</th>' for name in scores)
    values = ''.join(f'<td>{value:.1f}</td>' for value in scores.values())
    parts = [
        '<!doctype html><html lang="en"><meta charset="utf-8"><title>Captions</title>',
        f'<style>{STYLE}</style><h1>Captions</h1>',
        f'<table><tr>{names}</tr><tr>{values}</tr></table>',
        f'<p>{len(clips)} of {total} clips.</p>',
        *map(_article, clips),
        '</html>\n',
    ]
    return '\n'.join(parts)


def _article(clip: Mapping[str, Any]) -> str:
    images = ''.join(f'<img alt="" src="{url}">' for url in frame_urls(str(clip['file'])))
    references = ''.join(f'<li>{html.escape(text)}</li>' for text in clip['references'])
    kind = 'caption exact' if clip['exact_match'] else 'caption'
    return (
        f'<article>{images}<p class="{kind}">{html.escape(clip["caption"])}</p>'
        f'<ul>{references}</ul><p class="file">{html.escape(str(clip["file"]))}, CIDEr-D '
        f'{clip["CIDEr-D"]:.1f}</p></article>'
    )


def frame_urls(path: str) -> list[str]:
    """Frames spread over a video, as data URLs of JPEGs; [] where OpenCV reads none."""
    video = cv2.VideoCapture(path)
    count = int(video.get(cv2.CAP_PROP_FRAME_COUNT))
    wanted, urls = set(np.linspace(0, max(count - 1, 0), FRAMES).astype(int).tolist()), []
    for number in range(count):
        if not video.grab():
            break
        if number not in wanted:
            continue
        ok, frame = video.retrieve()
        if ok:
            width = max(1, round(frame.shape[1] * HEIGHT / frame.shape[0]))
            coded = cv2.imencode('.jpg', cv2.resize(frame, (width, HEIGHT)))[1]
            urls.append('data:image/jpeg;base64,' + base64.b64encode(coded).decode())
    video.release()
    return urls
