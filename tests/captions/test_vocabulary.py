"""Words of captions: counted, numbered, stored, and those that a vocabulary lacks."""

import json
import random
import sys

import pytest
from helpers.support import run_python, run_tool

from cnnlstm_mm.captions.treebank import tokenize
from cnnlstm_mm.captions.vocabulary import BOS, EOS, PAD, SPECIAL, UNK, Vocabulary

TEXTS = ['A man rides a horse.', 'a man, in a hat!', "the man's dog doesn't bark", 'MAN']


def test_words_are_lower_case_and_the_frequent_ones_first():
    made = Vocabulary.build(TEXTS)
    assert tuple(made.words[:4]) == SPECIAL and (PAD, BOS, EOS, UNK) == (0, 1, 2, 3)
    assert made.words[4:6] == ['a', 'man'], 'four times each'
    assert set(made.words[6:]) == set("'s bark dog doesn't hat horse in rides the".split())
    assert made.words[6:] == sorted(made.words[6:])


def test_the_order_of_the_captions_does_not_matter():
    texts = list(TEXTS)
    random.Random(0).shuffle(texts)
    assert Vocabulary.build(texts).text == Vocabulary.build(TEXTS).text


def test_rare_words_and_size():
    made = Vocabulary.build(TEXTS, min_count=2)
    assert made.words[4:] == ['a', 'man']
    assert made.unknown.total() == 9 and '9 words' in made.describe_unknown()
    assert Vocabulary.build(TEXTS, size=6).words == [*SPECIAL, 'a', 'man']
    with pytest.raises(ValueError, match='expected words with min_count=9, got none of 11'):
        Vocabulary.build(TEXTS, min_count=9)
    with pytest.raises(ValueError, match='size'):
        Vocabulary.build(TEXTS, size=4)


def test_a_caption_goes_and_comes_back():
    made = Vocabulary.build(TEXTS)
    for text in TEXTS[1:]:
        wanted = text.lower().replace(',', '').replace('!', '').rstrip('.')
        assert made.decode(made.encode(text)) == wanted
    assert made.encode('"A" - man?') == made.encode('a man')
    assert not made.unknown and made.describe_unknown() == ''


def test_unknown_words_are_counted():
    made = Vocabulary.build(TEXTS)
    assert made.encode('A zebra and a ZEBRA') == [4, UNK, UNK, 4, UNK]
    assert made.unknown == dict(zebra=2, **{'and': 1})
    assert '2 words are not in the vocabulary' in made.describe_unknown()
    assert 'zebra (2), and (1)' in made.describe_unknown()


def test_chinese_japanese_newlines_and_special_words():
    made = Vocabulary.build(
        [
            '一个男人在跑步',
            '男の人が走っている',
            'two\nlines  and\ttabs',
            'naïve café',
            '<pad> <eos>',
        ]
    )
    assert [made.words[n] for n in made.encode('男人跑')] == ['男', '人', '跑']
    assert made.decode(made.encode('男人跑')) == '男人跑'
    sentence = '人が走る'  # the metric's words, too
    assert [made.words[n] for n in made.encode(sentence)] == tokenize(sentence) == list(sentence)
    assert made.decode(made.encode(sentence)) == sentence
    assert made.decode(made.encode('two\nlines')) == 'two lines'
    assert made.decode(made.encode('Naïve')) == 'naïve'
    assert PAD not in made.encode('<pad>') and EOS not in made.encode('<eos>')
    assert made.encode('') == made.encode('?!') == []


def test_the_file_is_one_of_tokenizers(tmp_path):
    from tokenizers import Tokenizer

    made = Vocabulary.build(TEXTS)
    path = tmp_path / 'vocabulary.json'
    path.write_text(made.text)
    again, theirs = Vocabulary(path), Tokenizer.from_file(str(path))
    assert again.words == made.words and Vocabulary(json.loads(made.text)).words == made.words
    for text in TEXTS:
        assert theirs.encode(text).ids == again.encode(text) == made.encode(text)


@pytest.mark.parametrize(
    'text', ['{}', '{"model": 3}', '{"model": {"vocab": {"a": 0}}}', '[1]', 'text']
)
def test_other_files_are_refused(tmp_path, text):
    path = tmp_path / 'v.json'
    path.write_text(text)
    with pytest.raises(ValueError, match='v.json: expected a JSON file of tokenizers.*fix: '):
        Vocabulary(path)
    with pytest.raises(FileNotFoundError, match='absent.*fix: write it with cnnlstm-mm vocabulary'):
        Vocabulary(tmp_path / 'absent.json')


def test_decoding_needs_no_library(monkeypatch):
    text = Vocabulary.build(TEXTS).text
    monkeypatch.setitem(sys.modules, 'tokenizers', None)
    made = Vocabulary(text)
    assert made.decode([4, 5]) == 'a man'
    with pytest.raises(ModuleNotFoundError, match=r'tokenizers.*pip install "cnnlstm_mm\[captions'):
        made.encode('a man')


@pytest.mark.slow
def test_the_package_imports_without_the_libraries():
    code = (
        'import sys\n'
        'for name in ("tokenizers", "pycocoevalcap"): sys.modules[name] = None\n'
        'import cnnlstm_mm.models, cnnlstm_mm.captions\n'
        'from mmaction.registry import MODELS, METRICS\n'
        'print(MODELS.get("CaptionHead"), METRICS.get("CaptionMetric"))'
    )
    done = run_python('-c', code)
    assert done.returncode == 0 and 'CaptionHead' in done.stdout, done.stderr


def test_the_command(tmp_path):
    captions, out = tmp_path / 'c.csv', tmp_path / 'v.json'
    captions.write_text('video,caption\na.avi,A man runs\na.avi,a man\nb.avi,"a dog, a man"\n')
    done = run_tool('tools/vocabulary.py', captions, '--out', out, '--min-count', 2)
    assert done.returncode == 0, done.stderr
    assert '6 words of 3 captions' in done.stdout and 'dog (1)' in done.stdout
    assert Vocabulary(out).words[4:] == ['a', 'man']
    done = run_tool('tools/vocabulary.py', captions, '--out', out, '--size', 3)
    assert done.returncode == 2 and 'size: expected an int from 5' in done.stderr
