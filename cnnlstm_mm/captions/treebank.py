"""Words of a sentence as caption metrics count them, without Java.

The rules are those of Stanford's PTBTokenizer 3.4.1 as pycocoevalcap calls it (lower case,
punctuation dropped), for what captions hold. docs/captions.md lists where it differs.
"""

import re

from cnnlstm_mm.text import CJK

PUNCTUATION = set("'' ' `` ` . ? ! , : - -- ... ; \"".split())  # brackets stay, as in pycocoevalcap
BRACKETS = {'(': '-lrb-', ')': '-rrb-', '[': '-lsb-', ']': '-rsb-', '{': '-lcb-', '}': '-rcb-'}
MONEY = {'£': '#', '€': '$'}
SPLIT_AT = dict.fromkeys(['cannot', 'gonna', 'gotta', 'lemme', 'gimme', 'wanna'], 3)
SPLIT_AT |= {"'tis": 2, "'twas": 2, "y'all": 2}
TITLES = (
    'mr mrs ms dr st jr sr vs etc prof mt ph.d co inc ltd corp gen gov sen rep lt sgt capt fig '
    'dept ave blvd ft'
)
DATES = 'jan feb mar apr jun jul aug sep sept oct nov dec mon tue tues wed thu thurs fri'
ABBREVIATION = rf'(?:{"|".join(f"{TITLES} {DATES}".split())}|(?:[a-z]\.)*[a-z])\.'
TOKEN = re.compile(
    rf"""
    {ABBREVIATION}(?=[\s.,;:?!)]|$)                  # mr.  u.s.
    | no\.(?=\s*\d) | \d+:\d+(?=[ap]m\b)
    | \d+(?:[.,:]\d+)*(?![\w/-]|'s\b)               # 1,000  3.5  10:30
    | c\+\+ | 'n'(?!\w) | 't(?:is|was)\b | [#@]\w+
    | \w+(?:['.@/-]\w+)*                            # well-known  it's  and/or  site.com
    | \.\.\.+ | --+ | [?!]{{2,}} | \S
    """,
    re.VERBOSE,
)
CLITIC = re.compile(r"^(.+?)(n't|'(?:s|re|ve|ll|d|m))$")


def tokenize(sentence: str) -> list[str]:
    """Words of a sentence, in lower case and without punctuation."""
    text = re.sub('[\u2018\u2019]', "'", sentence.lower())
    text = re.sub('[\u201c\u201d\u2026]', ' ', text)
    text = re.sub(f'([{CJK}])', r' \1 ', text)
    words: list[str] = []
    for token in TOKEN.findall(text):
        clitic = CLITIC.match(token)
        if clitic:
            words += clitic.groups()
        elif token in SPLIT_AT:
            words += [token[: SPLIT_AT[token]], token[SPLIT_AT[token] :]]
        else:
            words.append(BRACKETS.get(token) or MONEY.get(token, token))
    return [word for word in words if word not in PUNCTUATION and not re.fullmatch('[.-]+', word)]
