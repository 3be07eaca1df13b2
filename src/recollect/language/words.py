"""Words for prompts: words of one token each, or of equally many tokens."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from recollect.language.tokenizer import Cut, Tokenizer

WORD = re.compile(r"[a-z]{3,}")
BEFORE = "-"
"""Text before a word when its tokens are counted."""
COMMON = """
able acid aged also area army away baby back ball band bank base bath bear beat been bell belt bend
best bike bill bird blow blue boat body bold bone book born both bowl bulk burn bush busy cake call
calm came camp card care cart case cash cast cave chat chin city clay clip club coal coat code coin
cold come cook cool copy corn cost crew crop dark data date dawn deal deep deer desk dial diet dirt
dish door dose down draw drop drum duck dust duty each earn east easy edge else even ever exam exit
face fact fair fall farm fast fate feed feel file fill film find fine fire firm fish five flag flat
flow fold folk food foot form fort four free from fuel full fund gain game gate gave gear gift girl
give glad goal goat gold golf good gray grew grid grow gulf hair half hall hand hard have head heat
help herb hero high hill hold hole home hope horn host hour huge hunt idea inch into iron item jazz
join joke jump jury keep kept kick kind king kiss knee knew lady lake lamp land lane last late lawn
lead leaf left lens less life lift like line link lion list live load loan lock long look lord loss
loud love luck lung made mail main make male many mark mask mass meal mean meat meet menu mile milk
mind mine moon more most move much must myth name navy near neck need nest news next nice nine none
noon nose note oath odds once only onto open oven over pack page paid pain pair palm park part pass
past path peak pick pink pipe plan play plot plus poem poet pole pool port post pull pure push quit
race rail rain rank rate read real rear rely rent rest rice rich ride ring rise risk road rock role
roll roof room root rope rose rule rush safe sail salt same sand save seat seed seek seem self sell
send ship shoe shop shot show sick side sign silk sing site size skin slip slow snow soap soft soil
sold sole some song soon sort soul soup spin spot star stay stem step stop such suit sure swim tail
take tale talk tall tank tape task team tell tent term test text than that them then they thin this
thus tide time tiny told tone tool tour town tree trip true tube tune turn twin type unit upon user
vary vast very view vote wage wait wake walk wall want warm wash wave weak wear week well west what
wide wife wild will wind wine wing wire wise wish wolf wood word work yard year zero zone
"""
"""English words, for tokenizers with too few words of one token."""


class Words(NamedTuple):
    """Words to choose from.

    Attributes:
        words: the words.
        tokens: number of tokens of each word.
    """

    words: Sequence[str]
    tokens: int


def choose_words(tokenizer: Tokenizer, needed: int) -> Words:
    """Choose words with the smallest number of tokens for which there are enough words.

    If there are never enough, the largest group of words is chosen.

    Args:
        tokenizer: the tokenizer.
        needed: number of words needed.
    """
    single = words_of(tokenizer)
    groups = [Words(single, 1)]
    if len(single) < needed:
        groups += _by_tokens(tokenizer)
    enough = (group for group in groups if len(group.words) >= needed)
    return next(enough, max(groups, key=lambda group: len(group.words)))


def words_of(tokenizer: Tokenizer) -> list[str]:
    """Words of at least three letters a to z that are one token with the space before them, in
    alphabetical order; some are parts of longer words."""
    return [
        word
        for word, cut in _tried(tokenizer, _spelled(tokenizer))
        if len(cut.at(len(BEFORE), len(BEFORE) + 1 + len(word))) == 1  # and the space
    ]


def _by_tokens(tokenizer: Tokenizer) -> list[Words]:
    """Words by number of tokens, ascending; the space before a word is not counted."""
    groups: dict[int, dict[tuple[int, ...], str]] = {}
    for word, cut in _tried(tokenizer, _spelled(tokenizer) | {*COMMON.split()}):
        places = cut.at(len(BEFORE) + 1, len(BEFORE) + 1 + len(word))
        tokens = tuple(cut.tokens[place] for place in places)
        if tokens and tokenizer.unknown not in tokens:
            groups.setdefault(len(tokens), {}).setdefault(tokens, word)
    return [Words(list(groups[count].values()), count) for count in sorted(groups)]


def _spelled(tokenizer: Tokenizer) -> set[str]:
    """Words that are the text of a single token."""
    return {word for text in tokenizer.spellings() if WORD.fullmatch(word := text.strip())}


def _tried(tokenizer: Tokenizer, words: set[str]) -> Iterator[tuple[str, Cut]]:
    """Words in alphabetical order, each tokenized after `BEFORE` and a space."""
    tried = sorted(words)
    return zip(tried, tokenizer.cut([f"{BEFORE} {word}" for word in tried]), strict=True)
