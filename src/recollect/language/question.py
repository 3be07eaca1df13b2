"""What a language model is asked: a text with the answers in place, and where they stand in it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import numpy as np

from recollect.config import Config


class Span(NamedTuple):
    """The characters `first` to `last` - 1 of a text."""

    first: int
    last: int


class Answer(NamedTuple):
    """A word that the model must say.

    Attributes:
        told: where it read the word.
        asked: where it must say it.
    """

    told: Span
    asked: Span


@dataclass(frozen=True)
class Prompt:
    """A text with all answers in place.

    Attributes:
        text: solved examples and the one that counts.
        answers: of that one, in the order in which they are asked.
        candidates: among how many a guess at the first answer is; an answer that was given is none
            any more.
    """

    text: str
    answers: tuple[Answer, ...]
    candidates: int

    @property
    def chances(self) -> list[float]:
        """Of a guess at each answer."""
        return [1 / (self.candidates - turn) for turn in range(len(self.answers))]


class Question(Config, ABC):
    """What a model is asked, at one size.

    Attributes:
        has_examples: whether its prompts may begin with solved examples.
        example_words: different words in each of these.
    """

    task: ClassVar[str]
    has_examples: ClassVar[bool] = True
    example_words: ClassVar[int] = 0

    @property
    @abstractmethod
    def label(self) -> str:
        """Its settings, in words."""

    @property
    def words_needed(self) -> int:
        """Different words in a prompt, without those of solved examples."""
        return 0

    @abstractmethod
    def prompt(self, words: Sequence[str], shots: int, rng: np.random.Generator) -> Prompt:
        """A random prompt.

        Args:
            words: those to choose from, where it has none of its own.
            shots: solved examples in it.
            rng: what is drawn from.
        """


def distinct(draw: Callable[[], str], count: int) -> list[str]:
    """So many different ones, in the order in which they are drawn."""
    found: dict[str, None] = {}
    while len(found) < count:
        found.setdefault(draw())
    return list(found)
