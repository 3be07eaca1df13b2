"""Prompts that ask a language model for what it has just read: MQAR and copying, in words.

    Pairs:                  Words: river seven cloud
    - river: seven          Again: river seven cloud
    - cloud: table
    Questions:
    - river: seven

A prompt begins with some small solved examples of this form, from which the model sees what is
asked. The answers of the last example, here `seven` or the words after `Again:`, are what it must
say. No word has two meanings in a prompt: keys, values and strings share none.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import ClassVar, NamedTuple

import numpy as np
from pydantic import Field

from recollect.config import Config

SOLVED_PAIRS, SOLVED_WORDS = 2, 4
"""Size of a solved example: small, so that what must be remembered is the last one."""
PAIRS_A_QUESTION = 4
"""Few of the keys are asked: answers given before say little of those to come, early and late
questions are about as hard to guess, and so are near and far ones."""


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
    """

    text: str
    answers: tuple[Answer, ...]


class Question(Config, ABC):
    """What a model is asked, at one size."""

    task: ClassVar[str]

    @property
    @abstractmethod
    def size(self) -> int:
        """How many words were told that may be an answer."""

    @property
    @abstractmethod
    def answers(self) -> int:
        """How many are asked."""

    @property
    @abstractmethod
    def label(self) -> str:
        """Its settings, in words."""

    @abstractmethod
    def words_needed(self, shots: int) -> int:
        """Different words in a prompt with so many solved examples."""

    @abstractmethod
    def prompt(self, words: Sequence[str], shots: int, rng: np.random.Generator) -> Prompt:
        """A random prompt of these words."""

    def chance(self, turn: int) -> float:
        """Of a guess among the words that may be the answer and have not been one yet.

        Args:
            turn: how many answers came before.
        """
        return 1 / (self.size - turn)


class Recall(Question):
    """MQAR (arXiv 2312.04927): one key of four is asked, any of them, each but once.

    Attributes:
        pairs: keys with a value.
        distance: words between the pairs and the questions, random ones that are neither a key nor
            a value.
    """

    task = "mqar"

    pairs: int = Field(gt=0)
    distance: int = Field(default=0, ge=0)

    @property
    def size(self) -> int:
        """A value for each pair."""
        return self.pairs

    @property
    def answers(self) -> int:
        """One for every four pairs."""
        return _questions(self.pairs)

    @property
    def label(self) -> str:
        """`pairs=4, distance=0`."""
        return f"pairs={self.pairs}, distance={self.distance}"

    def words_needed(self, shots: int) -> int:
        """Keys and values of all examples, and one to stand between."""
        return 2 * (self.pairs + shots * SOLVED_PAIRS) + min(self.distance, 1)

    def prompt(self, words: Sequence[str], shots: int, rng: np.random.Generator) -> Prompt:
        """A random prompt of these words."""
        sizes = [SOLVED_PAIRS] * shots + [self.pairs]
        order = rng.permutation(len(words))
        needed = 2 * sum(sizes)
        drawn = (words[i] for i in order[:needed])
        between = [words[i] for i in rng.choice(order[needed:], self.distance)]
        write = _Writer()
        for size in sizes[:-1]:
            _recall(write, _pairs(drawn, size), [], rng)
        answers = _recall(write, _pairs(drawn, self.pairs), between, rng)
        return Prompt(write.text, answers)


class Copying(Question):
    """A string of different words, to be said again (arXiv 2402.01032 has letters).

    Attributes:
        words: in the string.
    """

    task = "copy"

    words: int = Field(gt=0)

    @property
    def size(self) -> int:
        """The words of the string."""
        return self.words

    @property
    def answers(self) -> int:
        """All of them."""
        return self.words

    @property
    def label(self) -> str:
        """`words=8`."""
        return f"words={self.words}"

    def words_needed(self, shots: int) -> int:
        """Those of all strings."""
        return self.words + shots * SOLVED_WORDS

    def prompt(self, words: Sequence[str], shots: int, rng: np.random.Generator) -> Prompt:
        """A random prompt of these words."""
        drawn = (words[i] for i in rng.permutation(len(words)))
        write = _Writer()
        for _ in range(shots):
            _copy(write, list(islice(drawn, SOLVED_WORDS)))
        answers = _copy(write, list(islice(drawn, self.words)))
        return Prompt(write.text, answers)


class _Writer:
    """A text in the making, which tells where the words of answers stand in it."""

    def __init__(self) -> None:
        self.text = ""

    def line(self, text: str) -> None:
        self.text += f"{text}\n"

    def pair(self, key: str, value: str) -> Span:
        """A line with a key and its value; where the value is."""
        self.line(f"- {key}: {value}")
        last = len(self.text) - 1
        return Span(last - len(value), last)

    def string(self, heading: str, words: Sequence[str]) -> list[Span]:
        """A line with a string of words; where each is."""
        spans = []
        last = len(self.text) + len(heading)
        for word in words:
            first = last + 1  # after a space
            last = first + len(word)
            spans.append(Span(first, last))
        self.line(" ".join([heading, *words]))
        return spans


def _recall(
    write: _Writer,
    pairs: Sequence[tuple[str, str]],
    between: Sequence[str],
    rng: np.random.Generator,
) -> tuple[Answer, ...]:
    """An example of MQAR."""
    write.line("Pairs:")
    told = [write.pair(*pair) for pair in pairs]
    if between:
        write.string("Other words:", between)
    write.line("Questions:")
    asked = rng.permutation(len(pairs))[: _questions(len(pairs))]
    answers = [Answer(told[i], write.pair(*pairs[i])) for i in asked]
    write.line("")
    return tuple(answers)


def _copy(write: _Writer, string: Sequence[str]) -> tuple[Answer, ...]:
    """An example of copying."""
    told = write.string("Words:", string)
    asked = write.string("Again:", string)
    write.line("")
    return tuple(map(Answer, told, asked))


def _questions(pairs: int) -> int:
    return -(-pairs // PAIRS_A_QUESTION)


def _pairs(drawn: Iterator[str], count: int) -> list[tuple[str, str]]:
    return [(next(drawn), next(drawn)) for _ in range(count)]
