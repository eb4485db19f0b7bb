"""Make small generated reviews, as sequences of word vectors.

A review praises one thing and blames another: "the plot was good, the music
was not bad" is positive, "the plot was not good, the music was bad" negative.
For every review there is one of the other class with the very same words, so
that nothing but their order tells the classes apart: a model that averages
over words is at chance. Reviews have 10 to 26 words::

    OUT/vectors/train_00000.npy     [words, dims] float32
    OUT/embeddings_{train,val}_list.txt, label_map.txt
    OUT/reviews_{train,val}.txt     the words, one review per line
"""

import argparse
from pathlib import Path

import numpy as np

from cnnlstm_mm.storage import OutputFolder, atomic_path
from cnnlstm_mm.text import text_of

from .preparation import prepared_folder

GOOD = 'good great lovely clever moving funny'.split()
BAD = 'bad dull weak silly boring noisy'.split()
THINGS = 'plot music cast ending camera dialogue pace light'.split()
FILLERS = (
    'really quite rather truly somehow perhaps overall today honestly again maybe surely'
).split()
WORDS = sorted({*GOOD, *BAD, *THINGS, *FILLERS, 'the', 'was', 'not', 'and'})
CLASSES = ('negative', 'positive')


def pair(rng: np.random.Generator) -> tuple[list[str], list[str]]:
    """Draw a negative and a positive review of the same words."""
    clauses = [[rng.choice(GOOD)], [rng.choice(BAD)]]
    texts = []
    things = rng.choice(THINGS, 2, replace=False)
    gaps = [list(rng.choice(FILLERS, rng.integers(0, 5))) for _ in range(4)]
    turned = rng.random() < 0.5  # which clause comes first
    for denied in (0, 1):  # 'not good' is negative, 'not bad' positive
        said = [['not'] * (k == denied) + clauses[k] for k in (0, 1)]
        first, second = said[::-1] if turned else said
        texts.append(
            [
                str(word)
                for word in (
                    *gaps[0],
                    'the',
                    things[0],
                    'was',
                    *first,
                    *gaps[1],
                    'and',
                    *gaps[2],
                    'the',
                    things[1],
                    'was',
                    *second,
                    *gaps[3],
                )
            ]
        )
    return texts[0], texts[1]


def argument_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description='Make reviews as sequences of word vectors')
    parser.add_argument('--out', type=Path, default=Path('data/embeddings_quickstart'))
    parser.add_argument('--train-pairs', type=int, default=800)
    parser.add_argument('--val-pairs', type=int, default=200)
    parser.add_argument('--dims', type=int, default=16)
    parser.add_argument('--seed', type=int, default=0)
    return parser


def write(args: argparse.Namespace) -> None:
    """Write vectors, lists and texts."""
    if min(args.train_pairs, args.val_pairs, args.dims) < 1:
        raise ValueError(
            'expected --train-pairs, --val-pairs and --dims to be at least 1, got '
            f'{args.train_pairs}, {args.val_pairs} and {args.dims}'
        )
    if args.seed < 0:
        raise ValueError(f'expected --seed to be at least 0, got {args.seed}')
    names = ('train_pairs', 'val_pairs', 'dims', 'seed')
    settings = dict(
        tool='make_embeddings_quickstart', **{name: getattr(args, name) for name in names}
    )
    with prepared_folder(args.out, settings['tool'], settings, [], 'settings.json') as output:
        reviews = write_reviews(args, output)
    print(
        f'{2 * args.train_pairs} reviews to train on and '
        f'{2 * args.val_pairs} to test on in {args.out}, such as\n'
        f'  negative: {reviews[0]}\n  positive: {reviews[1]}\n'
        'Next: cnnlstm-mm train configs/lstm_embeddings_quickstart.py'
    )


def write_reviews(args: argparse.Namespace, output: OutputFolder) -> list[str]:
    """Write vectors, lists and words; the words of the test reviews."""
    rng = np.random.default_rng(args.seed)
    vectors = {word: rng.standard_normal(args.dims).astype(np.float32) for word in WORDS}
    reviews: list[str] = []
    for part, pairs in (('train', args.train_pairs), ('val', args.val_pairs)):
        lines: list[str] = []
        reviews = []
        for _ in range(pairs):
            for label, words in enumerate(pair(rng)):
                name = f'{part}_{len(lines):05d}.npy'
                data = np.stack([vectors[word] for word in words])
                with (
                    atomic_path(output.check_file(args.out / 'vectors' / name)) as path,
                    path.open('wb') as file,
                ):
                    np.save(file, data)
                lines.append(f'{name} {label}')
                reviews.append(' '.join(words))
        output.write_text(f'embeddings_{part}_list.txt', text_of(lines))
        output.write_text(f'reviews_{part}.txt', text_of(reviews))
    output.write_text('label_map.txt', text_of(CLASSES))
    return reviews


def main(argv: list[str] | None = None) -> int:
    from cnnlstm_mm.cli import run_command

    return run_command(write, argument_parser(), argv)
