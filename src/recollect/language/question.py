"""Questions to language models: prompts that contain the answers and their places."""

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
    """A word that the model must predict.

    Attributes:
        shown: where it reads the word first.
        asked: where it must predict it.
    """

    shown: Span
    asked: Span


@dataclass(frozen=True)
class Prompt:
    """A text that contains all answers.

    Attributes:
        text: solved examples and the example to answer.
        answers: answers of the latter, in order.
        candidates: number of candidates for the first answer; each given answer removes one.
    """

    text: str
    answers: tuple[Answer, ...]
    candidates: int

    @property
    def chances(self) -> list[float]:
        """Chance level of each answer."""
        return [1 / (self.candidates - turn) for turn in range(len(self.answers))]


class Question(Config, ABC):
    """A question of one kind and size.

    Attributes:
        has_examples: whether prompts may begin with solved examples.
        example_words: different words in each solved example.
    """

    task: ClassVar[str]
    has_examples: ClassVar[bool] = True
    example_words: ClassVar[int] = 0

    @property
    @abstractmethod
    def label(self) -> str:
        """Text of its settings."""

    @property
    def words_needed(self) -> int:
        """Number of different words in a prompt, without those of solved examples."""
        return 0

    @abstractmethod
    def prompt(self, words: Sequence[str], shots: int, rng: np.random.Generator) -> Prompt:
        """Sample a prompt.

        Args:
            words: words to choose from; ignored by questions with their own words.
            shots: number of solved examples.
            rng: random generator.
        """


def distinct(draw: Callable[[], str], count: int) -> list[str]:
    """Draw until there are `count` different texts; returned in the order of drawing."""
    found: dict[str, None] = {}
    while len(found) < count:
        found.setdefault(draw())
    return list(found)
