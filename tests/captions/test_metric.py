"""Caption scores beside pycocoevalcap's own, with Stanford's tokenizer where Java is."""

import json
import random
import shutil
import sys

import pytest

from cnnlstm_mm.captions import CaptionMetric
from cnnlstm_mm.captions.scores import caption_scores
from cnnlstm_mm.captions.treebank import tokenize

NEEDS_JAVA = pytest.mark.skipif(shutil.which('java') is None, reason='needs Java')
WHO = [
    'a man',
    'Two women',
    "the dog's owner",
    'a 10-year-old boy',
    'someone (a chef)',
    'Mr. Smith',
]
DOES = [
    'is playing the guitar',
    "isn't dancing",
    'are cooking 1/2 cup of rice',
    "can't ride a bike",
]
HOW = [
    'in the park',
    ', slowly',
    'at 10:30 a.m. in the U.S.',
    '- and sings "hello"',
    'on a T-shirt',
]
END = ['.', ' .', '!', '', '...', ' ?!']
ODD = """
Mr. Smith goes to the U.S. and back.|it's 10:30 a.m. now|I'll we're they've he'd I'm|cannot wanna
a boy--not a girl--runs|what?! no... yes|a man [in black] {here}|50% of people|the dogs' bowl
rock 'n' roll|she\u2019s running \u201cfast\u201d|the 80s music, 1980's|#hashtag @user|'tis a test|y'all
C++ code|under_score word|5'6" tall|£5 €6|jan. 5th|no. 5 is alive|a big no.|www.site.com is a site
e-mail me@site.com|a cat; a dog: a bird|a\u2026b|one,two,three|mother-in-law's|ain't|7:30pm|and/or
vs. the world|ph.d. student|A.|etc.|1,000.50|"quoted"|(a)|gimme lemme|naïve café|a / b|at&t|hm..
"""


def sentences(count=200):
    """Captions and references by clip, with what captions hold: clitics, numbers, brackets."""
    rng = random.Random(0)

    def one():
        return f'{rng.choice(WHO)} {rng.choice(DOES)} {rng.choice(HOW)}{rng.choice(END)}'

    captions = {str(n): one() for n in range(count)}
    return captions, {n: [one() for _ in range(rng.randint(1, 5))] for n in captions}


def theirs(captions, references, tokens):
    """pycocoevalcap's scorers on given tokens."""
    from pycocoevalcap.bleu.bleu import Bleu
    from pycocoevalcap.cider.cider import Cider
    from pycocoevalcap.rouge.rouge import Rouge

    given, wanted = tokens({k: [v] for k, v in captions.items()}), tokens(references)
    bleu = Bleu(4).compute_score(wanted, given, verbose=0)[0]
    scores = {f'BLEU-{n}': value for n, value in enumerate(bleu, 1)}
    scores['ROUGE-L'] = Rouge().compute_score(wanted, given)[0]
    scores['CIDEr-D'] = Cider().compute_score(wanted, given)[0]
    return scores


def stanford(texts):
    """Tokens of pycocoevalcap's PTBTokenizer."""
    from pycocoevalcap.tokenizer.ptbtokenizer import PTBTokenizer

    return PTBTokenizer().tokenize({k: [dict(caption=t) for t in v] for k, v in texts.items()})


@NEEDS_JAVA
def test_200_sentences_score_as_with_stanfords_tokenizer():
    captions, references = sentences()
    found, _ = caption_scores(captions, references, meteor=False)
    wanted = theirs(captions, references, stanford)
    assert wanted['CIDEr-D'] > 0.5 and 0.1 < wanted['BLEU-4'] < 0.9
    for name, value in wanted.items():
        assert found[name] / 100 == pytest.approx(value, abs=1e-6), name


@NEEDS_JAVA
def test_words_are_stanfords():
    texts = {str(n): [text] for n, text in enumerate(ODD.strip().replace('\n', '|').split('|'))}
    for number, (wanted,) in stanford(texts).items():
        assert ' '.join(tokenize(texts[number][0])) == wanted


def test_words_without_java():
    assert tokenize("The man's dog doesn't bark, ever!") == (
        "the man 's dog does n't bark ever".split()
    )
    assert tokenize('一个男人 runs') == ['一', '个', '男', '人', 'runs']
    assert tokenize('') == tokenize('?') == []


def test_exact_match_ignores_case_and_punctuation():
    captions = dict(a='A man runs', b='a man', c='')
    references = dict(a=['a dog', 'A man, runs.'], b=['a man runs'], c=['x'])
    scores, each = caption_scores(captions, references, meteor=False)
    assert scores['exact_match'] == pytest.approx(100 / 3)
    assert [each[k]['exact_match'] for k in 'abc'] == [1, 0, 0]
    assert each['a']['CIDEr-D'] > each['b']['CIDEr-D'] > each['c']['CIDEr-D'] == 0
    with pytest.raises(ValueError, match='same clips'):
        caption_scores(dict(a='x'), references)


@NEEDS_JAVA
@pytest.mark.slow
def test_meteor_is_pycocoevalcaps():
    from pycocoevalcap.meteor.meteor import Meteor

    captions, references = sentences(20)
    scores, _ = caption_scores(captions, references)
    scorer = Meteor()
    given = {k: [' '.join(tokenize(v))] for k, v in captions.items()}
    wanted = {k: [' '.join(tokenize(t)) for t in v] for k, v in references.items()}
    assert scores['METEOR'] == pytest.approx(100 * scorer.compute_score(wanted, given)[0], abs=1e-6)


def test_what_is_not_installed_is_named(monkeypatch):
    monkeypatch.setattr(shutil, 'which', lambda name: None)
    with pytest.raises(ValueError, match='meteor=True: expected Java'):
        caption_scores(dict(a='x'), dict(a=['x']), meteor=True)
    assert 'METEOR' not in caption_scores(dict(a='x'), dict(a=['x']))[0]
    for name in list(sys.modules):
        if name.startswith('pycocoevalcap'):
            monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, 'pycocoevalcap', None)
    with pytest.raises(ModuleNotFoundError, match=r'pip install "cnnlstm_mm\[captions\]"'):
        caption_scores(dict(a='x'), dict(a=['x']))


def sample(name, caption, references):
    found = [dict(caption=caption, log_prob=-1.0, score=-1.0)]
    return dict(filename=str(name), pred_captions=found, captions=references)


def test_the_metric_writes_captions_and_a_page(tmp_path, quickstart_data):
    video = sorted((quickstart_data / 'videos').rglob('*.avi'))[0]
    metric = CaptionMetric(meteor=False, out_dir=str(tmp_path), page_clips=2)
    metric.process(None, [sample(video, 'a <red> square', ['A <red> square.', 'no'])])
    metric.process(None, [sample('gone.avi', 'a man', ['a dog']), sample('x.avi', 'b', ['b c'])])
    scores = metric.evaluate(3)
    assert list(scores)[:4] == [f'caption/BLEU-{n}' for n in (1, 2, 3, 4)]
    assert scores['caption/exact_match'] == pytest.approx(100 / 3)
    content = json.loads((tmp_path / 'captions.json').read_text())
    assert [clip['exact_match'] for clip in content['clips']] == [1, 0, 0]
    assert content['clips'][0]['references'] == ['A <red> square.', 'no']
    page = (tmp_path / 'captions.html').read_text()
    assert page.count('data:image/jpeg;base64,') == 4 and '2 of 3 clips' in page
    assert 'a &lt;red&gt; square' in page and '<red>' not in page and 'exact"' in page


def test_a_test_set_without_references_is_refused():
    with pytest.raises(ValueError, match="expected references.*type='CaptionDataset'"):
        CaptionMetric().process(None, [sample('a.avi', 'a', [])])
