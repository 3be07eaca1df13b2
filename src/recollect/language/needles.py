"""Needle-in-a-haystack tasks: recall a number from one sentence in a long text.

The tasks are those of RULER (Hsieh et al., 2024, arXiv 2404.06654; its public code's
`scripts/synthetic.yaml`), without a chat template: three with a single needle (`s-niah-1` to
`s-niah-3`), three with several keys (`mk-niah-1` to `mk-niah-3`). Because of these differences,
scores are not exactly RULER's:

- Needle, question and noise are our own sentences of the same form.
- The size of the haystack is in words, not in tokens, so all models read the same text.
- Instead of Paul Graham's essays, the text is generated or the user's (`filler`) and split into
  sentences by a simple rule.
- Keys are an adjective and a noun of our lists. No key and no value occurs twice.
- Any line may have the answer. In RULER the last one never has, which helps guessing.
- An answer is right if each of its tokens has the largest logit (teacher forcing). RULER looks for
  it in 128 generated tokens.

The chance level is that of a guess among the values in the prompt, or among all possible values if
the prompt has only one.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Sequence
from typing import ClassVar, Literal, NamedTuple

import numpy as np
from pydantic import Field, model_validator

from recollect.errors import UserError
from recollect.language.filler import LISTS, made_text, sentences
from recollect.language.question import Answer, Prompt, Question, Span, distinct

HEAD = (
    "The text below tells a secret {one}. Keep it in mind: at the end you are asked for the {one}."
)
NEEDLE = "One secret {one} that is kept for {key} is: {value}."
ASKED = (
    "Which secret {one} did the text give for {key}? The secret {one} that the text gave for {key}"
    " is {value}."
)
NOISE = "The river is wide. The road is long. A bell rings twice. All is well. So it goes on."
DEPTHS = np.linspace(0, 100, 40).round() / 100
"""Possible depths of a needle, as fractions of the text's sentences."""
LEAST = 20
"""Fewest words of filler: one piece of noise, or two needles."""

Kind = Literal["s-niah-1", "s-niah-2", "s-niah-3", "mk-niah-1", "mk-niah-2", "mk-niah-3"]
Thing = Literal["words", "number", "uuid"]


class Hay(NamedTuple):
    """The components of one of RULER's tasks.

    Attributes:
        filler: the kind of haystack.
        key: the kind of keys.
        value: the kind of values.
        needles: number of needles that may be asked for; needles of the filler are never.
    """

    filler: Literal["noise", "text", "needles"]
    key: Thing
    value: Thing
    needles: int = 1


KINDS: dict[Kind, Hay] = {
    "s-niah-1": Hay("noise", "words", "number"),
    "s-niah-2": Hay("text", "words", "number"),
    "s-niah-3": Hay("text", "words", "uuid"),
    "mk-niah-1": Hay("text", "words", "number", needles=4),
    "mk-niah-2": Hay("needles", "words", "number"),
    "mk-niah-3": Hay("needles", "uuid", "uuid"),
}
POSSIBLE: dict[Thing, int] = {
    "words": len(LISTS["adjective"]) * len(LISTS["noun"]),
    "number": 9 * 10**6,
    "uuid": 2**122,
}
"""Number of possible keys or values of each kind."""


class Needle(Question):
    """One of RULER's tasks at one length.

    Attributes:
        kind: the task.
        filler: words of the haystack; if it consists of lines, of 19 words (noise) or 10 (needles),
            only as many lines as fit.
        text: the user's text of that many words; None: the generated one.
    """

    task = "niah"
    has_examples: ClassVar[bool] = False

    kind: Kind
    filler: int = Field(ge=LEAST)
    text: str | None = Field(default=None, exclude=True, repr=False)

    @model_validator(mode="after")
    def _is_as_long(self) -> Needle:
        if self.text is not None and len(self.text.split()) != self.filler:
            raise ValueError(
                f"filler={self.filler}, but the text has {len(self.text.split()):,} words: expected"
                " as many (filler.text_from)"
            )
        return self

    @property
    def label(self) -> str:
        """`kind=s-niah-1, filler=400`."""
        return f"kind={self.kind}, filler={self.filler}"

    def prompt(
        self,
        words: Sequence[str],  # noqa: ARG002
        shots: int,  # noqa: ARG002
        rng: np.random.Generator,
    ) -> Prompt:
        """A prompt with random needles at random places."""
        hay = KINDS[self.kind]
        count = hay.needles + (self._pieces(NEEDLE) if hay.filler == "needles" else 0)
        if count > POSSIBLE[hay.key]:
            raise UserError(
                f"{self.label}: needs {count:,} different keys, but there are"
                f" {POSSIBLE[hay.key]:,}; choose a smaller number"
            )
        keys = distinct(lambda: DRAW[hay.key](rng), count)
        values = distinct(lambda: DRAW[hay.value](rng), count)
        sentences = [
            NEEDLE.format(one=hay.value, key=key, value=value)
            for key, value in zip(keys, values, strict=True)
        ]
        context = self._hidden(sentences[: hay.needles], sentences[hay.needles :], rng)
        asked = rng.integers(hay.needles)
        head = HEAD.format(one=hay.value)
        end = ASKED.format(one=hay.value, key=keys[asked], value=values[asked])
        text = f"{head}\n{context}\n{end}"
        place = text.index(sentences[asked]) + len(sentences[asked])
        answer = Answer(*(_before(at, values[asked]) for at in (place, len(text))))
        return Prompt(text, (answer,), count if count > 1 else POSSIBLE[hay.value])

    def _hidden(
        self, needles: Sequence[str], others: Sequence[str], rng: np.random.Generator
    ) -> str:
        """The haystack with the needles."""
        hay = KINDS[self.kind]
        if hay.filler == "text":
            parts, between = sentences(self.text or made_text(self.filler)), " "
            depths = rng.choice(DEPTHS, len(needles), replace=False)
            places = [int(len(parts) * depth) for depth in depths]
        else:
            noise = [NOISE] * self._pieces(NOISE)
            parts, between = noise if hay.filler == "noise" else list(others), "\n"
            places = [int(rng.integers(len(parts) + 1))]
        for place, needle in sorted(zip(places, needles, strict=True), reverse=True):
            parts.insert(place, needle)
        return between.join(parts)

    def _pieces(self, piece: str) -> int:
        """Number of pieces in the filler."""
        return self.filler // len(piece.split())


def _words(rng: np.random.Generator) -> str:
    adjectives, nouns = LISTS["adjective"], LISTS["noun"]
    return f"{adjectives[rng.integers(len(adjectives))]}-{nouns[rng.integers(len(nouns))]}"


DRAW: dict[Thing, Callable[[np.random.Generator], str]] = {
    "words": _words,
    "number": lambda rng: str(rng.integers(10**6, 10**7)),
    "uuid": lambda rng: str(uuid.UUID(bytes=rng.bytes(16), version=4)),
}


def _before(end: int, value: str) -> Span:
    """Span of a value that is followed by a full stop, which ends at `end`."""
    return Span(end - 1 - len(value), end - 1)
