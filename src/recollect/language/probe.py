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
import torch.nn.functional as F
from jaxtyping import Bool, Float, Float64, Int64
from pydantic import Field
from torch import Tensor

from recollect.config import Config
from recollect.errors import UserError
from recollect.language.losses import LOGITS_AT_ONCE
from recollect.language.pretrained import Logits, Pretrained
from recollect.language.question import Prompt, Question
from recollect.language.tokenizer import Cut
from recollect.seeding import derive_seed


class Sampling(Config):
    """How often and with what a question is asked.

    Attributes:
        examples: prompts for each question.
        shots: solved examples in each prompt of a question that has such.
        seed: of the prompts.
    """

    examples: int = Field(default=100, gt=0)
    shots: int = Field(default=2, ge=0)
    seed: int = 0

    def words_needed(self, questions: Iterable[Question]) -> int:
        """Different words that each of these can be asked with."""
        return max(map(self._words_for, questions))

    def _words_for(self, question: Question) -> int:
        return question.words_needed + self.shots_of(question) * question.example_words

    def shots_of(self, question: Question) -> int:
        """Solved examples in each of its prompts."""
        return self.shots if question.has_examples else 0

    def told(self, question: Question) -> str:
        """`pairs=4, distance=0, shots=2`: how it is asked."""
        shots = f", shots={self.shots}" if question.has_examples else ""
        return f"{question.label}{shots}"

    def prompts(self, question: Question, words: Sequence[str]) -> Iterator[Prompt]:
        """Random prompts; each is the same whatever else is asked, and how often.

        Args:
            question: what is asked.
            words: those to choose from (`words.choose_words`).

        Raises:
            UserError: if there are too few words.
        """
        shots = self.shots_of(question)
        needed = self._words_for(question)
        if needed > len(words):
            raise UserError(
                f"{self.told(question)}: needs {needed:,} different words, but the"
                f" tokenizer has {len(words):,} of equally many tokens; choose smaller numbers"
            )
        for i in range(self.examples):
            named = derive_seed(self.seed, "probe", question.task, question.label, shots, i)
            yield question.prompt(words, shots, np.random.default_rng(named))


class Example(NamedTuple):
    """A prompt as tokens: Q of them are to be predicted, for A answers.

    Attributes:
        tokens: up to the last that is to be predicted.
        places: of those to be predicted.
        told: where each of them was read.
        turn: to which answer each of them belongs.
        distance: of each answer, tokens back to where it was told.
        chance: of a guess at each answer.
    """

    tokens: Int64[np.ndarray, " L"]
    places: Int64[np.ndarray, " Q"]
    told: Int64[np.ndarray, " Q"]
    turn: Int64[np.ndarray, " Q"]
    distance: Int64[np.ndarray, " A"]
    chance: list[float]


class Judged(NamedTuple):
    """What a model makes of the answers of an example.

    Attributes:
        right: whether each of its tokens has the largest logit.
        first_loss: cross-entropy in nats, its tokens together, where it was told; NaN where nothing
            stands before it.
        loss: the same where it was asked.
    """

    right: Bool[np.ndarray, " A"]
    first_loss: Float64[np.ndarray, " A"]
    loss: Float64[np.ndarray, " A"]


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
    (`question.Prompt.chances`); `right`; `first_loss` and `loss` (`Judged`).

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
            for example, each in zip(batch, judged, strict=True):
                frames.append(_rows(question, len(frames), example, each))
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
    unknown = model.tokenizer.unknown
    examples = [as_example(prompt, cut, unknown) for prompt, cut in zip(made, cuts, strict=True)]
    longest = max(len(example.tokens) for example in examples) - 1
    if model.longest_text is not None and longest > model.longest_text:
        raise UserError(
            f"{sampling.told(question)}: such a prompt has {longest:,} tokens, but the model"
            f" {model.name} reads {model.most}: choose smaller numbers"
        )
    return examples


def as_example(prompt: Prompt, cut: Cut, unknown: int | None = None) -> Example:
    """Where the answers of a prompt are among its tokens.

    Args:
        prompt: the text.
        cut: its tokens.
        unknown: the token for what the tokenizer does not know.

    Raises:
        UserError: if an answer has other tokens than the word has where it was told, unknown ones
            or none.
    """
    asked = [cut.at(*answer.asked) for answer in prompt.answers]
    told = [cut.at(*answer.told) for answer in prompt.answers]
    for answer, one, other in zip(prompt.answers, told, asked, strict=True):
        if [cut.tokens[place] for place in one] != [cut.tokens[place] for place in other]:
            raise UserError(
                "the tokenizer does not cut an answer of a prompt as it cuts the same word where"
                " the prompt tells it: such answers cannot be judged"
            )
        if not other or unknown in {cut.tokens[place] for place in other}:
            raise UserError(
                f"the tokenizer does not know {prompt.text[slice(*answer.asked)]!r}, the answer of"
                " a prompt: the model cannot be asked for it; leave its task out"
            )
    places = np.array(list(chain.from_iterable(asked)))
    return Example(
        tokens=np.array(cut.tokens[: places.max() + 1]),
        places=places,
        told=np.array(list(chain.from_iterable(told))),
        turn=np.repeat(np.arange(len(asked)), [len(each) for each in asked]),
        distance=np.array([b[0] - a[0] for a, b in zip(told, asked, strict=True)]),
        chance=prompt.chances,
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
) -> list[Judged]:
    longest = max(len(example.tokens) for example in examples) - 1
    inputs = torch.zeros(len(examples), longest, dtype=torch.int64)
    for row, example in zip(inputs, examples, strict=True):  # what fills up a row is read last
        row[: len(example.tokens) - 1] = torch.from_numpy(example.tokens[:-1])
    out = logits(inputs.to(device))
    return [_judged(name, each, out[i]) for i, each in enumerate(examples)]


def _judged(name: str, example: Example, logits: Float[Tensor, "L vocab"]) -> Judged:
    """An answer is right where all its tokens are; its loss is the sum of theirs."""
    scores = logits[torch.from_numpy(example.places - 1)].float()
    if scores.isnan().any():
        raise UserError(f"the model {name} gives NaN as logits")
    hit = scores.argmax(-1).cpu().numpy() == example.tokens[example.places]
    right = np.ones(len(example.distance), bool)
    np.logical_and.at(right, example.turn, hit)
    return Judged(
        right, _losses(example, example.told, logits), _losses(example, example.places, logits)
    )


def _losses(
    example: Example, places: Int64[np.ndarray, " Q"], logits: Float[Tensor, "L vocab"]
) -> Float64[np.ndarray, " A"]:
    """Of each answer, whose tokens are at these places."""
    true = torch.from_numpy(example.tokens[places]).to(logits.device)
    scores = logits[torch.from_numpy(np.maximum(places - 1, 0))].float()
    losses = F.cross_entropy(scores, true, reduction="none").double().cpu().numpy()
    losses[places == 0] = np.nan
    return np.bincount(example.turn, losses, len(example.distance))


def _rows(question: Question, number: int, example: Example, judged: Judged) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "task": question.task,
            **question.model_dump(),
            "prompt": number,
            "prompt_tokens": len(example.tokens) - 1,
            "turn": range(len(example.distance)),
            "distance_tokens": example.distance,
            "chance": example.chance,
            **judged._asdict(),
        }
    )
