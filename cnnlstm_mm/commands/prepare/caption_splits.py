"""Lists, vocabulary and report of a captioned data set, shared by its three layouts."""

import argparse
import json
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

from cnnlstm_mm.captions.vocabulary import Vocabulary
from cnnlstm_mm.options import check_int
from cnnlstm_mm.storage import OutputFolder
from cnnlstm_mm.text import natural_key, text_of, truncate_list
from cnnlstm_mm.video_files import find_videos

from .archives import add_max_size, unpack
from .preparation import (
    STATES,
    add_workers,
    check_there,
    check_workers,
    link_videos,
    note_state,
    prepared_folder,
    source_setting,
)
from .probing import probe_all

SPLITS = ('train', 'val', 'test')
LONG = 50  # words of a caption that the report names


class Clip(NamedTuple):
    """A clip of the official files: its split and its captions, as written there."""

    split: str
    captions: list[str]


class Source(NamedTuple):
    """What the official files say: clips by name, and what in them cannot be used."""

    clips: dict[str, Clip]
    faults: list[str]


def add_arguments(parser: argparse.ArgumentParser, data: str) -> None:
    """Add the options that the layouts share."""
    parser.add_argument('--out', type=Path, default=Path('data', data))
    parser.add_argument(
        '--min-count', type=int, default=2, help='rarer words of the training captions are unknown'
    )
    parser.add_argument('--vocabulary-size', type=int, help='most words; default: all')
    add_workers(parser)
    add_max_size(parser)


def prepare_captions(args: argparse.Namespace, data: str, read: Any, *texts: Path) -> None:
    """Write lists, vocabulary and report.

    Args:
        args: With ``videos`` and those of :func:`add_arguments`.
        data: Name of the data set.
        read: Called without arguments; gives the :class:`Source`.
        *texts: The official files.

    Raises:
        FileNotFoundError, InUseError, ValueError: If an input is missing, another run writes
            there, or nothing can be used.
    """
    check_workers(args.workers)
    check_int(**{'--min-count': args.min_count})
    check_int(5, optional=True, **{'--vocabulary-size': args.vocabulary_size})
    check_there(args.videos, *texts)
    settings = dict(
        tool=f'prepare {data}',
        videos=source_setting(args.videos),
        texts=[source_setting(text) for text in texts],
        min_count=args.min_count,
        vocabulary_size=args.vocabulary_size,
    )
    inputs = (args.videos, *texts)
    with prepared_folder(args.out, settings['tool'], settings, inputs, 'settings.json') as output:
        write(args, read(), output)


def write(args: argparse.Namespace, source: Source, output: OutputFolder) -> None:
    """Write into a folder that this run holds."""
    folder = unpack(args.videos, output.check_entry(args.out / 'unpacked_videos'), args.max_size)
    videos = find_videos(folder, [args.out / 'videos'])
    by_name: dict[str, str] = {}
    for path in videos:
        by_name.setdefault(Path(path).stem, path)
    used = {name: videos[by_name[name]] for name in source.clips if name in by_name}
    link_videos(output, folder, args.out / 'videos')
    probed = probe_all(used, output.check_file(args.out / 'checked.jsonl'), args.workers)
    kept = {name: clean(clip.captions) for name, clip in source.clips.items()}
    report = summarize(source, kept, probed)
    report['extra'] = sorted(set(by_name) - set(source.clips), key=natural_key)
    for split in SPLITS:
        lines = [
            json.dumps(dict(video=by_name[name], captions=kept[name]), ensure_ascii=False)
            for name, clip in source.clips.items()
            if clip.split == split
            and kept[name]
            and probed.get(name, dict(state='missing'))['state'] in ('ok', 'short')
        ]
        output.write_text(f'captions_{split}.jsonl', text_of(lines))
    captions = [
        text for name, clip in source.clips.items() if clip.split == 'train' for text in kept[name]
    ]
    vocabulary = Vocabulary.build(captions, args.min_count, args.vocabulary_size)
    output.write_text('vocabulary.json', vocabulary.text + '\n')
    report['vocabulary'] = len(vocabulary)
    report['unknown_words'] = len(vocabulary.unknown)
    report['unknown_word_uses'] = vocabulary.unknown.total()
    output.write_text('report.json', json.dumps(report, indent=2, ensure_ascii=False) + '\n')
    print(describe(report))
    print(f'Report: {output.root / "report.json"}')


def clean(captions: Iterable[str]) -> list[str]:
    """Captions with words, on one line each; blanks at their ends removed."""
    texts = (' '.join(text.split()) for text in captions)
    return [text for text in texts if any(map(str.isalnum, text))]


def summarize(
    source: Source, kept: dict[str, list[str]], probed: dict[str, dict[str, Any]]
) -> dict[str, Any]:
    """Compare the official files with what was found.

    Args:
        source: The official files.
        kept: Captions that can be used, by clip.
        probed: See :func:`probe_all`.

    Returns:
        ``clips``, ``by_split`` (number of each state), and what is wrong by name: ``missing``,
        ``broken``, ``short``, ``without_captions``, ``empty_captions``, ``repeated_captions``,
        ``long_captions``, ``faults``.
    """
    report: dict[str, Any] = dict(
        clips=len(source.clips),
        captions=sum(map(len, kept.values())),
        by_split={split: dict.fromkeys(STATES, 0) for split in SPLITS},
        missing=[],
        broken={},
        short={},
        without_captions=[],
        empty_captions={},
        repeated_captions={},
        long_captions={},
        faults=source.faults,
    )
    for name, clip in source.clips.items():
        result = probed.get(name, dict(state='missing'))
        report['by_split'][clip.split][result['state']] += 1
        note_state(report, name, result)
        if not kept[name]:
            report['without_captions'].append(name)
        empty = len(clip.captions) - len(kept[name])
        repeated = sum(count - 1 for count in Counter(kept[name]).values())
        long = max((len(text.split()) for text in kept[name]), default=0)
        for key, value in (
            ('empty', empty),
            ('repeated', repeated),
            ('long', (long > LONG) * long),
        ):
            if value:
                report[f'{key}_captions'][name] = value
    return report


def describe(report: dict[str, Any]) -> str:
    """The report in lines."""
    left_out = {*report['missing'], *report['broken'], *report['without_captions']}
    lines = [
        f'{report["clips"] - len(left_out)} of {report["clips"]} clips can be used, with '
        f'{report["captions"]} captions in all; {report["vocabulary"]} words, '
        f'{report["unknown_words"]} rarer ones ({report["unknown_word_uses"]} uses) are unknown.'
    ]
    notes = dict(
        missing='clips are missing',
        broken='clips are broken',
        without_captions='clips have no caption',
        empty_captions='clips have empty captions, which were left out',
        repeated_captions='clips have a caption more than once, which stays',
        long_captions=f'clips have a caption of more than {LONG} words, which stays',
        extra='videos are in no split',
        faults='entries cannot be used',
    )
    for key, note in notes.items():
        found = report[key]
        if found:
            named = [f'{k} ({v})' for k, v in found.items()] if isinstance(found, dict) else found
            lines.append(f'{len(found)} {note}: {truncate_list(named)}')
    return '\n'.join(lines)


def read_json(path: Path) -> Any:
    """Read a JSON file in UTF-8.

    Raises:
        ValueError: With the place, if it is not JSON.
    """
    try:
        return json.loads(path.read_bytes())
    except ValueError as error:
        raise ValueError(
            f'{path}: expected JSON, got something else ({error}); fix: download it again'
        ) from None
