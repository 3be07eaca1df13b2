"""Probes of a pretrained language model's recall, by prompts and without training.

A model reads a whole prompt at once, including the true answers (teacher forcing). An answer is
right if each of its tokens has the largest logit.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
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
from recollect.language.lost import check_spelled
from recollect.language.pretrained import Pretrained
from recollect.language.progress import OnCount
from recollect.language.question import Prompt, Question
from recollect.language.tokenizer import Cut
from recollect.models.look_ahead import Logits
from recollect.seeding import derive_seed


class Sampling(Config):
    """How prompts are sampled.

    Attributes:
        examples: number of prompts per question.
        shots: solved examples in each prompt, for questions that have them.
        seed: seed of the prompts.
    """

    examples: int = Field(default=100, gt=0)
    shots: int = Field(default=2, ge=0)
    seed: int = 0

    def words_needed(self, questions: Iterable[Question]) -> int:
        """Number of different words that suffices for each of these questions."""
        return max(map(self._words_for, questions))

    def _words_for(self, question: Question) -> int:
        return question.words_needed + self.shots_of(question) * question.example_words

    def shots_of(self, question: Question) -> int:
        """Number of solved examples in each prompt of a question."""
        return self.shots if question.has_examples else 0

    def in_words(self, question: Question) -> str:
        """Text of a question's settings: `pairs=4, distance=0, shots=2`."""
        shots = f", shots={self.shots}" if question.has_examples else ""
        return f"{question.label}{shots}"

    def prompts(self, question: Question, words: Sequence[str]) -> Iterator[Prompt]:
        """Random prompts; each is independent of the number of prompts and of other questions.

        Args:
            question: the question.
            words: words to choose from (`words.choose_words`).

        Raises:
            UserError: if there are too few words.
        """
        shots = self.shots_of(question)
        needed = self._words_for(question)
        if needed > len(words):
            raise UserError(
                f"{self.in_words(question)}: needs {needed:,} different words, but the"
                f" tokenizer has {len(words):,} of equally many tokens; choose smaller numbers"
            )
        for i in range(self.examples):
            named = derive_seed(self.seed, "probe", question.task, question.label, shots, i)
            yield question.prompt(words, shots, np.random.default_rng(named))


class Example(NamedTuple):
    """A prompt as tokens, Q of which are to be predicted for A answers.

    Attributes:
        tokens: tokens up to the last one to predict.
        places: places of the tokens to predict.
        shown: place at which each of them was read before.
        turn: index of the answer to which each of them belongs.
        distance: distance in tokens of each answer to where it was read.
        chance: chance level of each answer.
    """

    tokens: Int64[np.ndarray, " L"]
    places: Int64[np.ndarray, " Q"]
    shown: Int64[np.ndarray, " Q"]
    turn: Int64[np.ndarray, " Q"]
    distance: Int64[np.ndarray, " A"]
    chance: list[float]


class Judged(NamedTuple):
    """A model's results on the answers of an example.

    Attributes:
        right: whether each token of the answer has the largest logit.
        first_loss: cross-entropy of the answer's tokens, in nats, where it occurs first; NaN at the
            beginning of the prompt.
        loss: the same where the answer is asked for.
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
    on_progress: OnCount = lambda *_: None,
) -> pd.DataFrame:
    """Test which questions a model answers correctly.

    Args:
        model: the model.
        words: words to choose from (`words.choose_words`).
        questions: the questions.
        sampling: how prompts are sampled.
        device: device of the model.
        on_progress: called with the numbers of finished and of all prompts.

    Returns:
        One row per answer: `task`; the settings of the question; `prompt`, its number;
        `prompt_tokens`, tokens before the last one to predict; `turn`, index of the answer;
        `distance_tokens` to where the answer was read; `chance` (`question.Prompt.chances`);
        `right`; `first_loss` and `loss` (`Judged`).

    Raises:
        UserError: if there are too few words, or the model cannot read so many tokens, cannot be
            loaded or gives NaN.
    """
    once = sampling.replace(examples=1)
    for question in questions:  # find errors before the weights are loaded
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
            on_progress(len(frames), total)
    return pd.concat(frames, ignore_index=True)


def _encode(
    model: Pretrained, question: Question, words: Sequence[str], sampling: Sampling
) -> list[Example]:
    """Prompts as tokens.

    Raises:
        UserError: if the model cannot read so many tokens, or an answer cannot be found among them.
    """
    made = list(sampling.prompts(question, words))
    cuts = model.tokenizer.cut([prompt.text for prompt in made])
    unknown = model.tokenizer.unknown
    examples = [as_example(prompt, cut, unknown) for prompt, cut in zip(made, cuts, strict=True)]
    for prompt, example in zip(made, examples, strict=True):
        for turn, answer in enumerate(prompt.answers):
            tokens = example.tokens[example.places[example.turn == turn]].tolist()
            check_spelled(model.tokenizer, tokens, prompt.text[slice(*answer.asked)])
    longest = max(len(example.tokens) for example in examples) - 1
    if model.longest_text is not None and longest > model.longest_text:
        raise UserError(
            f"{sampling.in_words(question)}: such a prompt has {longest:,} tokens, but the model"
            f" {model.name} reads {model.most}: choose smaller numbers"
        )
    return examples


def as_example(prompt: Prompt, cut: Cut, unknown: int | None = None) -> Example:
    """Find the answers of a prompt among its tokens.

    Args:
        prompt: the prompt.
        cut: its tokens.
        unknown: the unknown token; None: there is none.

    Raises:
        UserError: if an answer has different tokens where it was read, shares a token with the
            text there, has unknown tokens, or none.
    """
    asked = [cut.at(*answer.asked) for answer in prompt.answers]
    shown = [cut.at(*answer.shown) for answer in prompt.answers]
    for answer, one, other in zip(prompt.answers, shown, asked, strict=True):
        if [cut.tokens[place] for place in one] != [cut.tokens[place] for place in other]:
            raise UserError(
                "the tokenizer splits an answer differently from the same word earlier in the"
                " prompt, so the answer cannot be judged"
            )
        if not other or unknown in {cut.tokens[place] for place in other}:
            raise UserError(
                f"the tokenizer does not know {prompt.text[slice(*answer.asked)]!r}, the answer of"
                " a prompt: leave out its task"
            )
        if other[0] <= one[-1]:  # it could be the first token, which nothing predicts
            raise UserError(
                f"the tokenizer puts {prompt.text[slice(*answer.asked)]!r}, the answer of a prompt,"
                " into one token with the same word before it, so the answer cannot be judged"
            )
    places = np.array(list(chain.from_iterable(asked)))
    return Example(
        tokens=np.array(cut.tokens[: places.max() + 1]),
        places=places,
        shown=np.array(list(chain.from_iterable(shown))),
        turn=np.repeat(np.arange(len(asked)), [len(each) for each in asked]),
        distance=np.array([b[0] - a[0] for a, b in zip(shown, asked, strict=True)]),
        chance=prompt.chances,
    )


def _batches(examples: Sequence[Example], vocab_size: int) -> Iterator[Sequence[Example]]:
    """Batches of at most `LOGITS_AT_ONCE` logits and at least one example."""
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
    for row, example in zip(inputs, examples, strict=True):  # padding comes last
        row[: len(example.tokens) - 1] = torch.from_numpy(example.tokens[:-1])
    out = logits(inputs.to(device))
    return [_judged(name, each, out[i]) for i, each in enumerate(examples)]


def _judged(name: str, example: Example, logits: Float[Tensor, "L vocab"]) -> Judged:
    """Judge answers: one is right if all its tokens are; its loss is the sum over its tokens."""
    scores = logits[torch.from_numpy(example.places - 1)].float()
    if scores.isnan().any():
        raise UserError(f"the model {name} gives NaN as logits")
    hit = scores.argmax(-1).cpu().numpy() == example.tokens[example.places]
    right = np.ones(len(example.distance), bool)
    np.logical_and.at(right, example.turn, hit)
    return Judged(
        right, _losses(example, example.shown, logits), _losses(example, example.places, logits)
    )


def _losses(
    example: Example, places: Int64[np.ndarray, " Q"], logits: Float[Tensor, "L vocab"]
) -> Float64[np.ndarray, " A"]:
    """Loss of each answer, whose tokens are at these places."""
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
