"""Convert MSR-VTT to checked caption lists.

    cnnlstm-mm prepare msrvtt VIDEOS videodatainfo.json
    cnnlstm-mm prepare msrvtt VIDEOS train_val_videodatainfo.json test_videodatainfo.json

VIDEOS is the archive or the folder of video0.mp4 to video9999.mp4. Below --out (data/msrvtt) it
writes captions_{train,val,test}.jsonl, vocabulary.json, report.json and a link to the videos.
Clips that are missing or broken are left out of the lists and named in the report.
"""

import argparse
from pathlib import Path
from typing import Any

from cnnlstm_mm.cli import run_command

from .caption_splits import Clip, Source, add_arguments, prepare_captions, read_json

NAMES = dict(train='train', validate='val', val='val', test='test')


def read_source(paths: list[Path]) -> Source:
    """Read ``videos`` and ``sentences`` of the JSON files.

    Raises:
        ValueError: If a file has another layout.
    """
    clips: dict[str, Clip] = {}
    faults: list[str] = []
    contents = [(path, _content(path)) for path in paths]
    for path, content in contents:
        for entry in content['videos']:
            name, split = (_field(entry, key) for key in ('video_id', 'split'))
            if name is None or split not in NAMES:
                faults.append(f'{path.name}: video {str(entry)[:80]} without a known split')
            elif name in clips:
                faults.append(f'{path.name}: {name} stands twice among the videos')
            else:
                clips[name] = Clip(NAMES[split], [])
    for path, content in contents:
        for entry in content['sentences']:
            name, caption = (_field(entry, key) for key in ('video_id', 'caption'))
            if name in clips and caption is not None:
                clips[name].captions.append(caption)
            else:
                faults.append(f'{path.name}: sentence {str(entry)[:80]} of no video')
    return Source(clips, faults)


def _content(path: Path) -> dict[str, list[Any]]:
    content = read_json(path)
    if not isinstance(content, dict) or any(
        not isinstance(content.get(key), list) for key in ('videos', 'sentences')
    ):
        raise ValueError(
            f'{path}: expected an object with the lists videos and sentences, got another layout; '
            'fix: name videodatainfo.json'
        )
    return content


def _field(entry: Any, key: str) -> str | None:
    value = entry.get(key) if isinstance(entry, dict) else None
    return value if isinstance(value, str) else None


def argument_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description='Prepare MSR-VTT')
    parser.add_argument('videos', type=Path, help='archive or folder of the clips')
    parser.add_argument('json', type=Path, nargs='+', help='videodatainfo.json, in one part or two')
    add_arguments(parser, 'msrvtt')
    return parser


def prepare(args: argparse.Namespace) -> None:
    prepare_captions(args, 'msrvtt', lambda: read_source(args.json), *args.json)


def main(argv: list[str] | None = None) -> int:
    return run_command(prepare, argument_parser(), argv)
