"""Prompts that test recall in words: MQAR, copying, repetition.

    Pairs:                  Words: river seven cloud
    - river: seven          Again: river seven cloud
    - cloud: table
    Questions:
    - river: seven

A prompt begins with small solved examples of this form, which show the task. The model must predict
the answers of the last example: here `seven`, or the words after `Again:`. Keys, values and strings
of a prompt share no words.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice

import numpy as np
from pydantic import Field

from recollect.language.question import Answer, Prompt, Question, Span

SOLVED_PAIRS, SOLVED_WORDS = 2, 4
"""Size of a solved example; small, so that recall of the last example dominates."""
PAIRS_A_QUESTION = 4
"""Pairs per question. Few keys are asked for, so earlier answers hardly help to guess later ones,
and all questions are about equally hard to guess."""


class Recall(Question):
    """MQAR (arXiv 2312.04927): a random quarter of the keys is asked for, each once.

    Attributes:
        pairs: number of key-value pairs.
        distance: number of random other words between the pairs and the questions.
    """

    task = "mqar"
    example_words = 2 * SOLVED_PAIRS

    pairs: int = Field(gt=0)
    distance: int = Field(default=0, ge=0)

    @property
    def label(self) -> str:
        """`pairs=4, distance=0`."""
        return f"pairs={self.pairs}, distance={self.distance}"

    @property
    def words_needed(self) -> int:
        """Keys, values, and one word for the distance."""
        return 2 * self.pairs + min(self.distance, 1)

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
        return Prompt(write.text, answers, self.pairs)


class Copying(Question):
    """Copying a string of different words (letters in arXiv 2402.01032).

    Attributes:
        words: length of the string.
    """

    task = "copy"
    example_words = SOLVED_WORDS

    words: int = Field(gt=0)

    @property
    def label(self) -> str:
        """`words=8`."""
        return f"words={self.words}"

    @property
    def words_needed(self) -> int:
        """Words of the string."""
        return self.words

    def prompt(self, words: Sequence[str], shots: int, rng: np.random.Generator) -> Prompt:
        """A random prompt of these words."""
        drawn = (words[i] for i in rng.permutation(len(words)))
        write = _Writer()
        for _ in range(shots):
            _copy(write, list(islice(drawn, SOLVED_WORDS)))
        answers = _copy(write, list(islice(drawn, self.words)))
        return Prompt(write.text, answers, self.words)


class Repetition(Question):
    """Different random words and their repetition, without instructions.

    A model with induction heads (Olsson et al., 2022, arXiv 2209.11895) finds the earlier
    occurrence of the last word and predicts the word after it. The answers are the repeated words
    from the second on. Another word comes first, so that every word has one before it. The paper
    repeats random tokens. Here they are words, which every tokenizer preserves, and each is drawn
    only once, so that one word determines the place.

    Attributes:
        length: number of repeated words.
    """

    task = "repetition"
    has_examples = False

    length: int = Field(gt=1)

    @property
    def label(self) -> str:
        """`length=8`."""
        return f"length={self.length}"

    @property
    def words_needed(self) -> int:
        """The repeated words and the first word."""
        return self.length + 1

    def prompt(
        self,
        words: Sequence[str],
        shots: int,  # noqa: ARG002
        rng: np.random.Generator,
    ) -> Prompt:
        """A random prompt of these words."""
        front, *drawn = (words[i] for i in rng.permutation(len(words))[: self.length + 1])
        write = _Writer()
        spans = write.string(front, drawn * 2)
        shown, asked = spans[1 : self.length], spans[self.length + 1 :]
        return Prompt(write.text, tuple(map(Answer, shown, asked)), self.length - 1)


class _Writer:
    """Builds a text and returns the spans of the answers' words in it."""

    def __init__(self) -> None:
        self.text = ""

    def line(self, text: str) -> None:
        self.text += f"{text}\n"

    def pair(self, key: str, value: str) -> Span:
        """Write a line with a key and its value; returns the span of the value."""
        self.line(f"- {key}: {value}")
        last = len(self.text) - 1
        return Span(last - len(value), last)

    def string(self, heading: str, words: Sequence[str]) -> list[Span]:
        """Write a line with a string of words; returns the span of each."""
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
    """Write an example of MQAR."""
    write.line("Pairs:")
    shown = [write.pair(*pair) for pair in pairs]
    if between:
        write.string("Other words:", between)
    write.line("Questions:")
    asked = rng.permutation(len(pairs))[: _questions(len(pairs))]
    answers = [Answer(shown[i], write.pair(*pairs[i])) for i in asked]
    write.line("")
    return tuple(answers)


def _copy(write: _Writer, string: Sequence[str]) -> tuple[Answer, ...]:
    """Write an example of copying."""
    shown = write.string("Words:", string)
    asked = write.string("Again:", string)
    write.line("")
    return tuple(map(Answer, shown, asked))


def _questions(pairs: int) -> int:
    return -(-pairs // PAIRS_A_QUESTION)


def _pairs(drawn: Iterator[str], count: int) -> list[tuple[str, str]]:
    return [(next(drawn), next(drawn)) for _ in range(count)]
