"""Vocabulary of captions: a ``tokenizers`` file, and sentences as word numbers."""

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from cnnlstm_mm.options import check_int
from cnnlstm_mm.text import CJK, join_words, truncate_list

SPECIAL = ('<pad>', '<bos>', '<eos>', '<unk>')
PAD, BOS, EOS, UNK = range(4)
META = 'vocabulary'  # key in a checkpoint's meta
NOT_A_WORD = r"[^\p{L}\p{M}\p{N}'-]+"
LOOSE = r"(?<![\p{L}\p{N}])(?:'(?!s\b)|-)+|['-]+(?![\p{L}\p{N}])"  # ' and - at the end of a word


class Vocabulary:
    """Words by number, and the rules that make words of a caption.

    Captions are lower-cased, punctuation is dropped, and each Chinese or Japanese character counts
    as a word.
    The first four numbers are those of ``SPECIAL``. Encoding needs the package ``tokenizers``;
    decoding does not.

    Args:
        source: A JSON file of ``tokenizers`` with a WordLevel model, or its content as a str that
            begins with '{' or as a dict.

    Attributes:
        words: By number.
        text: The content of the file.
        unknown: How often each word outside of the vocabulary was encoded.

    Raises:
        FileNotFoundError, ValueError: If the file is missing or is not such a vocabulary.
    """

    def __init__(self, source: str | Path | dict[str, Any]) -> None:
        name = 'vocabulary'
        if isinstance(source, dict):
            source = json.dumps(source, ensure_ascii=False)
        if not str(source).lstrip().startswith('{'):
            if not Path(source).is_file():
                raise FileNotFoundError(
                    f'expected a vocabulary, got {source}: no such file; fix: write it with '
                    'cnnlstm-mm vocabulary CAPTIONS --out FILE'
                )
            name, source = str(source), Path(source).read_text(encoding='utf-8')
        self.text = str(source)
        try:
            numbers = json.loads(self.text)['model']['vocab']
            self.words = sorted(numbers, key=numbers.__getitem__)
            good = sorted(numbers.values()) == list(range(len(numbers)))
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise ValueError(_refusal(name, f'{type(error).__name__}: {error}')) from None
        if not good or tuple(self.words[:4]) != SPECIAL:
            raise ValueError(_refusal(name, f'the first words {self.words[:4]}'))
        self.unknown: Counter[str] = Counter()
        self._tokenizer: Any = None

    def __len__(self) -> int:
        return len(self.words)

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, '_tokenizer': None}

    @classmethod
    def build(
        cls, captions: Iterable[str], min_count: int = 1, size: int | None = None
    ) -> 'Vocabulary':
        """Make a vocabulary of captions; the same captions in any order make the same one.

        Args:
            captions: Those of the training split.
            min_count: Rarer words are left out.
            size: Most words, the special ones included; the most frequent are taken.

        Raises:
            ValueError: If no word is left.
        """
        check_int(min_count=min_count)
        check_int(len(SPECIAL) + 1, optional=True, size=size)
        tokenizer = _tokenizer({name: k for k, name in enumerate(SPECIAL)})
        counts: Counter[str] = Counter()
        for caption in captions:
            text = tokenizer.normalizer.normalize_str(caption)
            counts.update(w for w, _ in tokenizer.pre_tokenizer.pre_tokenize_str(text))
        for name in SPECIAL:
            counts.pop(name, None)
        ranked = sorted(counts, key=lambda word: (-counts[word], word))
        kept = [word for word in ranked if counts[word] >= min_count]
        kept = kept[: None if size is None else size - len(SPECIAL)]
        if not kept:
            raise ValueError(
                f'expected words with min_count={min_count}, got none of {len(counts)} words; '
                'fix: lower min_count'
            )
        vocabulary = cls(
            _tokenizer({word: k for k, word in enumerate((*SPECIAL, *kept))}).to_str(pretty=True)
        )
        for word in ranked:
            if word not in set(kept):
                vocabulary.unknown[word] = counts[word]
        return vocabulary

    def encode(self, caption: str) -> list[int]:
        """Numbers of a caption's words, without the special ones; counts those it lacks."""
        if self._tokenizer is None:
            self._tokenizer = library().Tokenizer.from_str(self.text)
        done = self._tokenizer.encode(caption, add_special_tokens=False)
        for number, (start, end) in zip(done.ids, done.offsets):
            if number == UNK:
                self.unknown[caption[start:end].lower()] += 1
        return done.ids

    def decode(self, numbers: Sequence[int]) -> str:
        """The sentence of word numbers."""
        return join_words(self.words[n] for n in numbers)

    def describe_unknown(self, most: int = 10) -> str:
        """Number and examples of the unknown words so far; '' if there were none."""
        if not self.unknown:
            return ''
        examples = (f'{word} ({n})' for word, n in self.unknown.most_common())
        return (
            f'{len(self.unknown)} words are not in the vocabulary of {len(self)} and count as '
            f'{SPECIAL[UNK]} ({self.unknown.total()} times): {truncate_list(examples, most)}'
        )


def library() -> Any:
    """The package ``tokenizers``; ModuleNotFoundError with the pip command without it."""
    try:
        import tokenizers
    except ModuleNotFoundError:
        raise ModuleNotFoundError(
            'captions: expected the library tokenizers, got none; fix: python -m pip install '
            '"cnnlstm_mm[captions]"',
            name='tokenizers',
        ) from None
    return tokenizers


def _tokenizer(numbers: dict[str, int]) -> Any:
    """A tokenizer of whole words with our rules."""
    lib = library()
    rules = lib.normalizers
    tokenizer = lib.Tokenizer(lib.models.WordLevel(numbers, unk_token=SPECIAL[UNK]))
    tokenizer.normalizer = rules.Sequence(
        [
            rules.NFC(),
            rules.BertNormalizer(
                clean_text=True, handle_chinese_chars=True, strip_accents=False, lowercase=True
            ),
            rules.Replace('\u2019', "'"),
            rules.Replace(lib.Regex(NOT_A_WORD), ' '),
            rules.Replace(lib.Regex(LOOSE), ' '),
            rules.Replace(lib.Regex(r"(?<=[\p{L}\p{N}])'s\b"), " 's"),
        ]
    )
    tokenizer.pre_tokenizer = lib.pre_tokenizers.Sequence(
        [
            lib.pre_tokenizers.WhitespaceSplit(),
            lib.pre_tokenizers.Split(lib.Regex(f'[{CJK}]'), 'isolated'),
        ]
    )
    return tokenizer


def _refusal(name: str, found: str) -> str:
    return (
        f'{name}: expected a JSON file of tokenizers with words, {", ".join(SPECIAL)} first, got '
        f'{found}; fix: write it with cnnlstm-mm vocabulary CAPTIONS --out FILE'
    )
