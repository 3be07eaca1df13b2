"""In-context recall with or without noise: two tasks of MAD (Poli et al., 2024, arXiv 2403.17844;
athms/mad-lab, `mad/data/instances.py`).

    k1 v3 k2 v1 k1 v3 n1 n4 k2 v1
                   *           *
"""

from __future__ import annotations

import torch
from pydantic import Field, model_validator

from recollect.errors import UserError
from recollect.tasks._in_context import InContext
from recollect.tasks._label import short_label
from recollect.tasks._sampling import generator
from recollect.tasks._vocabulary import Vocabulary
from recollect.tasks.batch import Batch
from recollect.tasks.task import register_task


@register_task("in-context-recall")
class InContextRecall(InContext):
    """In-context recall of repeated keys.

    Keys are independent and uniform; each has one value in an example. Every next token is a
    target, and the last key occurred before.

    A fraction of the pairs is replaced by two tokens of noise, independent and uniform. Values are
    drawn independently, so keys may share a value.

    Attributes:
        seq_len: length of an example including the last target, in tokens; even.
        vocab_size: number of token ids: keys, values and noise.
        noise_vocab_size: number of token ids for noise.
        frac_noise: fraction of pairs that are noise.

    Raises:
        UserError: if seq_len is odd, there are fewer than two keys, or noise has no tokens.
    """

    seq_len: int = Field(default=128, ge=4)
    vocab_size: int = 16
    noise_vocab_size: int = Field(default=0, ge=0)
    frac_noise: float = Field(default=0.0, ge=0, lt=1)

    @model_validator(mode="after")
    def _fits(self) -> InContextRecall:
        if self.seq_len % 2:
            raise UserError(f"seq_len={self.seq_len} is odd: use {self.seq_len + 1}")
        if self.vocab_size < self.noise_vocab_size + 4:
            raise UserError(
                f"vocab_size={self.vocab_size} with noise_vocab_size={self.noise_vocab_size} leaves"
                f" too few keys and values: use at least {self.noise_vocab_size + 4}"
            )
        if self.frac_noise > 0 and self.noise_vocab_size == 0:
            raise UserError(f"frac_noise={self.frac_noise} needs noise_vocab_size > 0")
        return self

    @property
    def tokens(self) -> Vocabulary:
        """The ranges of token ids: keys, values, noise."""
        rest = self.vocab_size - self.noise_vocab_size
        return Vocabulary({"k": rest // 2, "v": rest - rest // 2, "n": self.noise_vocab_size})

    @property
    def label(self) -> str:
        """A label like `in-context-recall-128`, with settings that are not at their defaults."""
        letters = {"vocab_size": "v", "noise_vocab_size": "n", "frac_noise": "f"}
        return short_label(self, str(self.seq_len), letters)

    @property
    def max_len(self) -> int:
        """Length of the input: all tokens except the last, which is only a target."""
        return self.seq_len - 1

    def sample(self, n: int, seed: int) -> Batch:
        """Sample `n` examples; equal seeds give equal bytes."""
        source, sizes, pairs = generator(seed), self.tokens.sizes, self.seq_len // 2
        keys = torch.randint(sizes["k"], (n, pairs), generator=source)
        value_of = torch.randint(sizes["v"], (n, sizes["k"]), generator=source)
        noise = torch.rand(n, pairs, dtype=torch.float64, generator=source) < self.frac_noise
        noise[:, -1] = False
        never = torch.randint(pairs - 1, (n, 1), generator=source)
        noise.scatter_(1, never, False)
        # the first place of each key; the last key is one of those that occurred
        place = torch.where(noise, pairs, torch.arange(pairs))
        first = torch.full((n, sizes["k"]), pairs)
        first.scatter_reduce_(1, keys[:, :-1], place[:, :-1], "amin")
        scores = torch.randint(2**40, first.shape, generator=source)
        keys[:, -1] = scores.masked_fill_(first == pairs, -1).argmax(1)
        again = ~noise & (torch.arange(pairs) > first.gather(1, keys))

        text = torch.stack([keys, self.tokens["v"] + value_of.gather(1, keys)], dim=-1)
        if self.frac_noise > 0:
            drawn = torch.randint(sizes["n"], text.shape, generator=source)
            text = torch.where(noise[:, :, None], self.tokens["n"] + drawn, text)
        text = text.flatten(1)
        marks = torch.stack([again.long(), torch.zeros_like(keys)], dim=-1).flatten(1)[:, :-1]
        return Batch(text[:, :-1], None, text[:, 1:], marks)
