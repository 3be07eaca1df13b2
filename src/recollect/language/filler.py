"""Filler text for needle tasks: generated (the same on every machine) or from a user's text."""

from __future__ import annotations

import re
from functools import lru_cache

import numpy as np

from recollect.errors import UserError
from recollect.language.corpus import Corpus
from recollect.seeding import derive_seed

ADJECTIVES = """
able ancient awake bitter blue brave brief bright brisk broad calm careful cheerful clean clear
clever cold curious damp deep dry dusty eager early empty fair famous fast fine firm fresh gentle
glad golden grand green happy heavy honest hungry icy kind late lazy light little lonely loud lucky
mild modern narrow neat noisy old pale patient plain polite proud quick quiet rare red round rusty
salty sharp short silent silver slow small smooth soft solid sour steady strange sweet tall tender
thin tiny warm wide wild wise young
"""
NOUNS = """
anchor apple arrow barn basket bell bench bird blanket boat book bottle box branch bread bridge
brush bucket button cabin candle carpet cart castle chain chair clock cloud coat coin corner cup
curtain desk door drum engine feather fence field flag flower forest garden gate glove hammer
harbor hat hill horse house island jacket kettle key kitchen ladder lake lamp lantern leaf letter
map market meadow mirror mountain needle orchard oven paper path pencil pillow pocket pond river
road roof rope shell ship shoe spoon station stone table ticket tower tree valley violin wagon
wall wheel whistle window
"""
PEOPLE = """
actor artist baker builder captain carpenter child clerk cook doctor driver farmer fisher gardener
guard guest hunter judge lawyer merchant miller miner nurse painter pilot player poet sailor
shepherd singer soldier student tailor teacher traveler waiter weaver writer
"""
VERBS = """
admired borrowed carried cleaned described drew examined fetched forgot found guarded kept left lost
measured mended moved noticed opened painted praised reached remembered repaired saw searched
showed sold studied tested touched used visited wanted watched
"""
FORMS = (
    "The {adjective} {person} {verb} the {noun}.",
    "A {person} {verb} the {adjective} {noun} near the {noun}.",
    "Every {person} in the town {verb} a {noun}, but nobody {verb} the {adjective} {noun}.",
    "Before the {person} {verb} the {noun}, the {person} {verb} it.",
    "It was a {adjective} morning, and the {person} {verb} the {noun} again.",
    "When the {noun} was {adjective}, the {person} {verb} a {noun} and {verb} the {noun}.",
    "Some say that the {person} {verb} the {noun} because the {noun} was too {adjective}.",
)
LISTS = {
    name: words.split()
    for name, words in {
        "adjective": ADJECTIVES,
        "noun": NOUNS,
        "person": PEOPLE,
        "verb": VERBS,
    }.items()
}


@lru_cache(maxsize=8)
def made_text(count: int) -> str:
    """First `count` words of a fixed text of random sentences."""
    rng = np.random.default_rng(derive_seed("filler"))
    words: list[str] = []
    while len(words) < count:
        form = FORMS[rng.integers(len(FORMS))]
        words += re.sub(r"{(\w+)}", lambda slot: _word(slot[1], rng), form).split()
    return " ".join(words[:count])


def _word(kind: str, rng: np.random.Generator) -> str:
    words = LISTS[kind]
    return words[rng.integers(len(words))]


def text_from(corpus: Corpus, count: int) -> str:
    """First `count` words of a text, separated by single spaces.

    Raises:
        UserError: if it has fewer.
    """
    words: list[str] = []
    for document in corpus.documents():
        words += document.text.split()
        if len(words) >= count:
            return " ".join(words[:count])
    raise UserError(
        f"the text {corpus.name} has {len(words):,} words, but filler={count} needs as many:"
        " choose a smaller number or a longer text"
    )


def sentences(text: str) -> list[str]:
    """Split a text after each full stop, exclamation mark or question mark followed by a space."""
    return re.split(r"(?<=[.!?])\s+", text)
