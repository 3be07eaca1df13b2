"""Recall of a language model as it is: what it answers to prompts, without training it.

A model reads the whole text at once: each answer is judged with the true text before it, earlier
answers included (teacher forcing). It is right if each of its tokens has the largest logit.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import chain
from typing import NamedTuple

import numpy as np
import pandas as pd
import torch
from jaxtyping import Bool, Int64
from pydantic import Field
from torch import Tensor

from recollect.config import Config
from recollect.errors import UserError
from recollect.language.losses import LOGITS_AT_ONCE
from recollect.language.pretrained import Logits, Pretrained
from recollect.language.prompts import Prompt, Question
from recollect.language.tokenizer import Cut
from recollect.seeding import derive_seed


class Sampling(Config):
    """How often and with what a question is asked.

    Attributes:
        examples: prompts for each question.
        shots: solved examples in each prompt.
        seed: of the prompts.
    """

    examples: int = Field(default=100, gt=0)
    shots: int = Field(default=2, ge=0)
    seed: int = 0

    def words_needed(self, questions: Iterable[Question]) -> int:
        """Different words that each of these can be asked with."""
        return max(question.words_needed(self.shots) for question in questions)

    def prompts(self, question: Question, words: Sequence[str]) -> Iterator[Prompt]:
        """Random prompts; each is the same whatever else is asked, and how often.

        Args:
            question: what is asked.
            words: those to choose from (`words.choose_words`).

        Raises:
            UserError: if there are too few words.
        """
        needed = question.words_needed(self.shots)
        if needed > len(words):
            raise UserError(
                f"{question.label}, shots={self.shots}: needs {needed:,} different words, but the"
                f" tokenizer has {len(words):,} of equally many tokens; choose smaller numbers"
            )
        for i in range(self.examples):
            named = derive_seed(self.seed, "probe", question.task, question.label, self.shots, i)
            yield question.prompt(words, self.shots, np.random.default_rng(named))


class Example(NamedTuple):
    """A prompt as tokens: Q of them are to be predicted, for A answers.

    Attributes:
        tokens: up to the last that is to be predicted.
        places: of those to be predicted.
        turn: to which answer each of them belongs.
        distance: of each answer, tokens back to where it was told.
    """

    tokens: Int64[np.ndarray, " L"]
    places: Int64[np.ndarray, " Q"]
    turn: Int64[np.ndarray, " Q"]
    distance: Int64[np.ndarray, " A"]


def probe(
    model: Pretrained,
    words: Sequence[str],
    questions: Sequence[Question],
    sampling: Sampling,
    *,
    device: torch.device,
    on_progress: Callable[[int, int], None] | None = None,
) -> pd.DataFrame:
    """Ask a model, and see which answers are right.

    Columns, for each answer: `task`; the settings of its question; `prompt`, the number of its
    prompt; `prompt_tokens`, of the text before the last answer's last token; `turn`, answers that
    came before; `distance_tokens`, back to where the answer was told; `chance`
    (`prompts.Question.chance`); and `right`.

    Args:
        model: whom to ask.
        words: those to choose from (`words.choose_words`).
        questions: what to ask.
        sampling: how often, and with what.
        device: where the model runs.
        on_progress: called with the prompts that were read, and all there are.

    Raises:
        UserError: if there are too few words, or the model cannot read so many tokens, cannot be
            loaded or gives no numbers.
    """
    once = sampling.replace(examples=1)
    for question in questions:  # before the weights are read
        _encode(model, question, words, once)
    logits = model.load(device)
    frames: list[pd.DataFrame] = []
    total = len(questions) * sampling.examples
    for question in questions:
        examples = _encode(model, question, words, sampling)
        for batch in _batches(examples, model.vocab_size):
            judged = _judge(model.name, logits, batch, device)
            for example, right in zip(batch, judged, strict=True):
                frames.append(_rows(question, len(frames), example, right))
            if on_progress is not None:
                on_progress(len(frames), total)
    return pd.concat(frames, ignore_index=True)


def _encode(
    model: Pretrained, question: Question, words: Sequence[str], sampling: Sampling
) -> list[Example]:
    """Prompts as tokens.

    Raises:
        UserError: if the model cannot read so many.
    """
    made = list(sampling.prompts(question, words))
    cuts = model.tokenizer.cut([prompt.text for prompt in made])
    examples = [as_example(prompt, cut) for prompt, cut in zip(made, cuts, strict=True)]
    longest = max(len(example.tokens) for example in examples) - 1
    if model.longest_text is not None and longest > model.longest_text:
        raise UserError(
            f"{question.label}, shots={sampling.shots}: such a prompt has {longest:,} tokens, but"
            f" the model {model.name} reads {model.most}: choose smaller numbers"
        )
    return examples


def as_example(prompt: Prompt, cut: Cut) -> Example:
    """Where the answers of a prompt are among its tokens.

    Args:
        prompt: the text.
        cut: its tokens.

    Raises:
        UserError: if an answer has other tokens than the word has where it was told.
    """
    asked = [cut.at(*answer.asked) for answer in prompt.answers]
    told = [cut.at(*answer.told) for answer in prompt.answers]
    for one, other in zip(told, asked, strict=True):
        if [cut.tokens[place] for place in one] != [cut.tokens[place] for place in other]:
            raise UserError(
                "the tokenizer does not cut an answer of a prompt as it cuts the same word where"
                " the prompt tells it: such answers cannot be judged"
            )
    places = np.array(list(chain.from_iterable(asked)))
    return Example(
        tokens=np.array(cut.tokens[: places.max() + 1]),
        places=places,
        turn=np.repeat(np.arange(len(asked)), [len(each) for each in asked]),
        distance=np.array([b[0] - a[0] for a, b in zip(told, asked, strict=True)]),
    )


def _batches(examples: Sequence[Example], vocab_size: int) -> Iterator[Sequence[Example]]:
    """As many together as give no more logits than `LOGITS_AT_ONCE`; one is the least."""
    longest = max(len(example.tokens) for example in examples) - 1
    rows = max(1, LOGITS_AT_ONCE // (longest * vocab_size))
    for start in range(0, len(examples), rows):
        yield examples[start : start + rows]


@torch.no_grad()
def _judge(
    name: str, logits: Logits, examples: Sequence[Example], device: torch.device
) -> list[Bool[np.ndarray, " A"]]:
    """Which answers of each example are right."""
    longest = max(len(example.tokens) for example in examples) - 1
    inputs = torch.zeros(len(examples), longest, dtype=torch.int64)
    for row, example in zip(inputs, examples, strict=True):  # what fills up a row is read last
        row[: len(example.tokens) - 1] = torch.from_numpy(example.tokens[:-1])
    out = logits(inputs.to(device))
    return [
        _right(name, example, out[i, torch.from_numpy(example.places - 1)].float())
        for i, example in enumerate(examples)
    ]


def _right(name: str, example: Example, scores: Tensor) -> Bool[np.ndarray, " A"]:
    """An answer is right where all its tokens are."""
    if scores.isnan().any():
        raise UserError(f"the model {name} gives NaN as logits")
    hit = scores.argmax(-1).cpu().numpy() == example.tokens[example.places]
    right = np.ones(len(example.distance), bool)
    np.logical_and.at(right, example.turn, hit)
    return right


def _rows(
    question: Question, number: int, example: Example, right: Bool[np.ndarray, " A"]
) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "task": question.task,
            **question.model_dump(),
            "prompt": number,
            "prompt_tokens": len(example.tokens) - 1,
            "turn": range(question.answers),
            "distance_tokens": example.distance,
            "chance": [question.chance(turn) for turn in range(question.answers)],
            "right": right,
        }
    )
