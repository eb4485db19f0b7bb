r"""Convert VATEX to checked caption lists.

    cnnlstm-mm prepare vatex VIDEOS --train vatex_training_v1.0.json \\
        --val vatex_validation_v1.0.json --test vatex_public_test_english_v1.1.json

VIDEOS is the archive or the folder of the clips, each named as its videoID. Below --out
(data/vatex) it writes captions_{train,val,test}.jsonl, vocabulary.json, report.json and a link to
the videos. Clips that are missing or broken are left out of the lists and named in the report.
"""

import argparse
from pathlib import Path

from cnnlstm_mm.cli import run_command

from .caption_splits import SPLITS, Clip, Source, add_arguments, prepare_captions, read_json

LANGUAGES = dict(en='enCap', zh='chCap')


def read_source(paths: dict[str, Path], language: str) -> Source:
    """Read the JSON list of each split.

    Raises:
        ValueError: If a file has another layout, or no captions in the language.
    """
    key = LANGUAGES[language]
    clips: dict[str, Clip] = {}
    faults: list[str] = []
    for split, path in paths.items():
        content = read_json(path)
        if not isinstance(content, list):
            raise ValueError(
                f'{path}: expected a list of clips, got a {type(content).__name__}; fix: name a '
                'JSON file of VATEX'
            )
        if not any(isinstance(entry, dict) and key in entry for entry in content):
            raise ValueError(
                f'{path}: expected captions as {key}, got none; fix: the public test split, which '
                'has captions, and --language'
            )
        for number, entry in enumerate(content):
            entry = entry if isinstance(entry, dict) else {}
            name, captions = entry.get('videoID'), entry.get(key)
            if not isinstance(name, str) or not isinstance(captions, list):
                faults.append(f'{path.name}: entry {number} has no videoID or no {key}')
            elif name in clips:
                faults.append(f'{path.name}: {name} stands in {clips[name].split} already')
            else:
                texts = [text for text in captions if isinstance(text, str)]
                if len(texts) < len(captions):
                    faults.append(f'{path.name}: {name} has captions that are no text')
                clips[name] = Clip(split, texts)
    return Source(clips, faults)


def argument_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description='Prepare VATEX')
    parser.add_argument('videos', type=Path, help='archive or folder of the clips')
    for split in SPLITS:
        parser.add_argument(
            f'--{split}', type=Path, required=split == 'train', help=f'JSON of the {split} split'
        )
    parser.add_argument('--language', choices=sorted(LANGUAGES), default='en')
    add_arguments(parser, 'vatex')
    return parser


def prepare(args: argparse.Namespace) -> None:
    paths = {split: getattr(args, split) for split in SPLITS if getattr(args, split)}
    prepare_captions(args, 'vatex', lambda: read_source(paths, args.language), *paths.values())


def main(argv: list[str] | None = None) -> int:
    return run_command(prepare, argument_parser(), argv)
