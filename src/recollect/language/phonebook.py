"""Phone book task: recall the number of one of the names in a phone book.

The task of Jelassi et al. (2024, arXiv 2402.01032), as their public code writes it
(`pretrained_exps/data_utils.py`):

    Emma Clark: 8215540937
    Oscar Reed: 7049912836
    ...

    Oscar Reed: 7049912836
    ...

    Emma Clark: 8215540937

The solved examples (two in the paper) are entries of the same book, and another entry is asked for.
The differences:

- Names come from the lists below, each with the same probability. No name and no number occurs
  twice.
- The answer is the ten digits; text after them does not count.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from pydantic import Field

from recollect.errors import UserError
from recollect.language.question import Answer, Prompt, Question, Span, distinct

LOWEST, HIGHEST = 6_000_000_000, 9_999_999_999
"""Range of the numbers: ten digits, the first from 6 to 9."""
GIVEN = """
Adam Alice Amy Anna Arthur Barbara Ben Brian Carol Charles Clara Daniel David Diana Edward Ellen
Emma Eric Eva Frank Fred George Grace Hannah Harry Helen Henry Hugo Irene Jack James Jane Jason
Joan John Julia Karen Kevin Laura Leo Linda Lisa Lucy Maria Mark Martin Mary Michael Nancy Nora
Oliver Oscar Paul Peter Rachel Robert Rose Ruth Sam Sarah Simon Sophie Thomas Victor
"""
FAMILY = """
Adams Allen Baker Barnes Bell Bennett Brooks Brown Butler Campbell Carter Clark Coleman Collins Cook
Cooper Cox Davis Edwards Evans Fisher Foster Gray Green Griffin Hall Harris Hayes Hill Howard Hughes
Jackson Jenkins Johnson Jones Kelly King Lee Lewis Long Martin Miller Mitchell Moore Morgan Morris
Murphy Nelson Parker Phillips Powell Price Reed Rogers Russell Scott Smith Stewart Taylor Turner
Walker Watson White Young
"""
NAMES = [f"{given} {family}" for given in GIVEN.split() for family in FAMILY.split()]


class Phonebook(Question):
    """A phone book of which one name is asked for.

    Attributes:
        entries: number of entries.
    """

    task = "phonebook"

    entries: int = Field(gt=0, le=len(NAMES))

    @property
    def label(self) -> str:
        """`entries=20`."""
        return f"entries={self.entries}"

    def prompt(
        self,
        words: Sequence[str],  # noqa: ARG002
        shots: int,
        rng: np.random.Generator,
    ) -> Prompt:
        """A prompt with a random phone book.

        Raises:
            UserError: if the solved examples use up all entries.
        """
        if self.entries <= shots:
            raise UserError(
                f"entries={self.entries}: expected more than the {shots} solved examples, which"
                " are entries of the book, too"
            )
        names = [NAMES[i] for i in rng.permutation(len(NAMES))[: self.entries]]
        numbers = distinct(lambda: str(rng.integers(LOWEST, HIGHEST + 1)), self.entries)
        lines = [f"{name}: {number}" for name, number in zip(names, numbers, strict=True)]
        *solved, asked = rng.permutation(self.entries)[: shots + 1]
        parts = [lines, [lines[i] for i in solved], [lines[asked]]]
        text = "\n\n".join("\n".join(part) for part in parts if part)
        end = len("\n".join(lines[: asked + 1]))
        digits = len(numbers[asked])
        answer = Answer(Span(end - digits, end), Span(len(text) - digits, len(text)))
        return Prompt(f"{text}\n", (answer,), self.entries - shots)
