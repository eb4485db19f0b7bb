"""Words of a sentence as caption metrics count them, without Java.

The rules are those of Stanford's PTBTokenizer 3.4.1 as pycocoevalcap calls it (lower case,
punctuation dropped), for what captions hold. It differs in what is listed in docs/captions.md.
"""

import re

from cnnlstm_mm.text import CJK

PUNCTUATION = set("'' ' `` ` . ? ! , : - -- ... ;".split())  # -lrb- stays, as in pycocoevalcap
BRACKETS = {'(': '-lrb-', ')': '-rrb-', '[': '-lsb-', ']': '-rsb-', '{': '-lcb-', '}': '-rcb-'}
TWO = dict.fromkeys(['cannot', 'gonna', 'gotta', 'lemme', 'gimme', 'wanna'], 3)  # split here
ABBREVIATION = r'(?:mr|mrs|ms|dr|st|jr|sr|vs|etc|prof|mt|(?:[a-z]\.)+[a-z])\.'
TOKEN = re.compile(
    rf"""
    {ABBREVIATION}(?=[\s,;:?!)]|$)          # mr.
    | \d+(?:[.,:]\d+)*(?:st|nd|rd|th|s)?(?![\w])      # 1,000  3.5  10:30  2nd  80s
    | [^\W_]+(?:[&'.@/-][^\W_]+)*            # a-b
    | \.\.\.+ | --+ | \S
    """,
    re.VERBOSE,
)
CLITIC = re.compile(r"^(.+?)(n't|'(?:s|re|ve|ll|d|m))$")


def tokenize(sentence: str) -> list[str]:
    """Words of a sentence, in lower case and without punctuation."""
    text = sentence.lower().replace('\u2019', "'").replace('\u2018', "'")
    text = re.sub(f'([{CJK}])', r' \1 ', text)
    words: list[str] = []
    for token in TOKEN.findall(text):
        found = CLITIC.match(token)
        if found:
            words += found.groups()
        elif token in TWO:
            words += [token[: TWO[token]], token[TWO[token] :]]
        else:
            words.append(BRACKETS.get(token, token))
    return [word for word in words if word not in PUNCTUATION and word != '"']
