"""Generation of text, token by token."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from recollect.errors import UserError
from recollect.models.language_model import LanguageModel
from recollect.seeding import generator_seed

Read = Callable[[Sequence[int]], Float[Tensor, " vocab"]]
"""Reads further tokens and returns the logits of the next one."""


def stepping(model: LanguageModel) -> Read:
    """Reader by the step form, which takes the same time for every token."""
    state = model.initial_state(1)

    def read(tokens: Sequence[int]) -> Float[Tensor, " vocab"]:
        nonlocal state
        for token in tokens:
            logits, state = model.step(torch.tensor([token]), state)
        return logits[0]

    return read


def rereading(model: LanguageModel) -> Read:
    """Reader by the parallel form, which reads all tokens again each time."""
    known: list[int] = []

    def read(tokens: Sequence[int]) -> Float[Tensor, " vocab"]:
        known.extend(tokens)
        last = torch.tensor([[len(known) - 1]])
        return model(torch.tensor([known]), last)[0, 0]

    return read


def has_step_form(model: LanguageModel) -> bool:
    """Whether every mixer has a step form."""
    needed = ("initial_state", "step")
    return all(hasattr(block.mixer, name) for block in model.layers for name in needed)


@torch.no_grad()
def write(
    model: LanguageModel,
    prompt: Sequence[int],
    tokens: int,
    *,
    temperature: float = 1.0,
    seed: int = 0,
) -> Iterator[int]:
    """Generate tokens after a prompt.

    Args:
        model: a model on the CPU, in evaluation mode.
        prompt: token ids.
        tokens: number of tokens to generate.
        temperature: divisor of the logits; 0: always the most likely token.
        seed: seed of the sampling.

    Raises:
        UserError: if the prompt is empty, prompt and tokens exceed the model's length, or the
            temperature is negative, NaN or infinite.
    """
    if not prompt:
        raise UserError("the prompt is empty: give some text to begin with")
    if len(prompt) + tokens > model.max_len:
        raise UserError(
            f"tokens={tokens}: with the prompt, of length {len(prompt)}, these are more than the"
            f" {model.max_len} that the model reads; choose a smaller number or a shorter prompt"
        )
    if not 0 <= temperature < math.inf:
        raise UserError(f"temperature={temperature}: expected a number of at least 0")
    read = stepping(model) if has_step_form(model) else rereading(model)
    generator = torch.Generator().manual_seed(generator_seed(seed))
    more = list(prompt)
    for _ in range(tokens):
        more = [_draw(read(more), temperature, generator)]
        yield more[0]


def _draw(logits: Float[Tensor, " vocab"], temperature: float, generator: torch.Generator) -> int:
    scaled = logits / temperature if temperature else logits
    # where the logits overflow at this temperature, only the largest can be drawn
    if temperature == 0 or not scaled.max().isfinite():
        return int(logits.argmax())
    chances = scaled.softmax(dim=0)
    return int(torch.multinomial(chances, 1, generator=generator))
