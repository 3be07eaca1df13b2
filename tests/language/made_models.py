"""Models made by hand, which answer prompts by a rule, and a tokenizer with words."""

import random
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

import torch
import torch.nn.functional as F

from recollect.language.pretrained import Pretrained
from recollect.language.tokenizer import Tokenizer
from recollect.language.tokenizer_files import train_tokenizer
from recollect.language.words import words_of

Rule = Callable[[str], str]
"""From the text up to an answer to the answer."""
ASKS = r"(?:- \w+:|Again:(?: \w+)*?)( \w*)?"
"""A line in which a word is asked for, and how much of it stands there."""
FORM = "Pairs:\n- a: b\nQuestions:\nOther words: Words: Again:\n\n"


@cache
def spellings(cutter: Tokenizer) -> list[str]:
    return [cutter.decode([token]) for token in range(cutter.vocab_size)]


@cache
def words() -> list[str]:
    """Those of `worded`."""
    return words_of(worded())


@cache
def worded(count: int = 100) -> Tokenizer:
    """A tokenizer in which so many words of two syllables are one token each."""
    starts = [a + b for a in "bdfgklmnprstvz" for b in "aeiou"]
    every = [f"{a}{b}" for a in starts for b in starts]
    words = random.Random(0).sample(every, count)
    return train_tokenizer([f"- {word}: {word}" for word in words] * 3 + [FORM] * 9, 10**4)


@dataclass(frozen=True)
class ByRule(Pretrained):
    """A model that says what its rule says, token for token, in lines of a form (`ASKS`)."""

    rule: Rule = field(kw_only=True)
    asks: str = field(kw_only=True, default=ASKS)

    def load(self, *_):
        return self.logits

    def logits(self, inputs):
        pieces = spellings(self.tokenizer)
        said = torch.zeros_like(inputs)
        for i, row in enumerate(inputs.tolist()):
            text = ""
            for t, token in enumerate(row):
                text += pieces[token]
                said[i, t] = self._next(text)
        return F.one_hot(said, self.vocab_size).float()

    def _next(self, text: str) -> int:
        line = text[text.rfind("\n") + 1 :]
        asked = re.fullmatch(self.asks, line)
        if asked is None:
            return 0
        for begun in dict.fromkeys([asked[1] or "", ""]):  # the last word may be whole
            answer = f" {self.rule(text.removesuffix(begun))}"
            have, whole = self.tokenizer.encode([begun, answer])
            if len(have) < len(whole) and whole[: len(have)] == have:
                return whole[len(have)]
        return 0


def by_rule(
    rule: Rule,
    *,
    max_len: int | None = None,
    cutter: Tokenizer | None = None,
    asks: str = ASKS,
) -> ByRule:
    cutter = cutter or worded()
    size = cutter.vocab_size
    return ByRule("made", Path("nowhere"), "made", cutter, size, max_len, rule=rule, asks=asks)


def last_example(text: str) -> tuple[dict[str, str], list[str]]:
    """The answers of the last example, by what is asked, and those that were given."""
    if text.rfind("Words:") > text.rfind("Pairs:"):
        string, _, again = text.rpartition("Words:")[2].partition("\nAgain:")
        return {str(i): word for i, word in enumerate(string.split())}, again.split()
    pairs, _, questions = text.rpartition("Pairs:")[2].partition("Questions:")
    return dict(re.findall(r"- (\w+): (\w+)", pairs)), re.findall(r"- \w+: (\w+)", questions)


def knows(text: str) -> str:
    """The answer that was shown."""
    answers, given = last_example(text)
    key = text.rpartition("- ")[2].removesuffix(":") if text.endswith(":") else ""
    return answers.get(key, answers.get(str(len(given)), ""))


def guesses(seed: int) -> Rule:
    """Any answer that was not given yet."""
    source = random.Random(seed)

    def rule(text: str) -> str:
        answers, given = last_example(text)
        left = [word for word in answers.values() if word not in given]
        return source.choice(left) if left else ""

    return rule
