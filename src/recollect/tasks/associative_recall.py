"""AR, associative recall with one query at the end, the predecessor of MQAR.

    k1 v1 k2 v2 k3 v3 k2
                      v2

Variants are used by Ba et al. (2016, arXiv 1610.06258), H3 (2212.14052) and Hyena (2302.10866).
Every architecture solves it at these sizes, which motivated MQAR.
"""

from __future__ import annotations

import math

import torch
from jaxtyping import Int64
from pydantic import Field, model_validator
from torch import Tensor

from recollect.errors import UserError
from recollect.tasks._sampling import draw_pairs, generator, num_values, spell_pair_token
from recollect.tasks.batch import Batch
from recollect.tasks.task import Role, Task, register_task


@register_task("ar")
class AssociativeRecall(Task):
    """Associative recall: D key-value pairs, then one of the keys, chosen uniformly.

    Keys and values are drawn without repetition within an example, so a key has one value and every
    value is equally likely. As in MQAR, token 0 is unused, keys come from the first half of the
    vocabulary, and values from the second.

    Attributes:
        num_kv_pairs: D, the number of pairs; an example has 2 D + 1 tokens.
        vocab_size: number of token ids.

    Raises:
        UserError: if the vocabulary has fewer keys than pairs.
    """

    num_kv_pairs: int = Field(default=10, gt=0)
    vocab_size: int = 40

    @model_validator(mode="after")
    def _enough_keys(self) -> AssociativeRecall:
        needed = 2 * (self.num_kv_pairs + 1)
        if self.vocab_size < needed:
            raise UserError(
                f"vocab_size={self.vocab_size} has {max(self.vocab_size // 2 - 1, 0)} different"
                f" keys, but num_kv_pairs={self.num_kv_pairs}: use vocab_size >= {needed}"
            )
        return self

    @property
    def label(self) -> str:
        """A label like `ar-10`, with the vocabulary if it is not the default."""
        default = type(self).model_fields["vocab_size"].default
        suffix = "" if self.vocab_size == default else f"-v{self.vocab_size}"
        return f"ar-{self.num_kv_pairs}{suffix}"

    @property
    def max_len(self) -> int:
        """Length of the pairs and the query."""
        return 2 * self.num_kv_pairs + 1

    @property
    def filler_token(self) -> int:
        """Token 0, which is neither a key nor a value."""
        return 0

    @property
    def chance(self) -> float:
        """Accuracy of guessing any of the D values in the input."""
        return 1 / self.num_kv_pairs

    @property
    def marginal_loss(self) -> float:
        """Loss of a uniform guess among all values."""
        return math.log(num_values(self.vocab_size))

    @property
    def answer_bits(self) -> float:
        """Entropy of one value: there is one question."""
        return math.log2(num_values(self.vocab_size))

    def sample(self, n: int, seed: int) -> Batch:
        """Sample `n` examples; equal seeds give equal bytes."""
        source = generator(seed)
        keys, values = draw_pairs(n, self.num_kv_pairs, self.vocab_size, source)
        asked = torch.randint(self.num_kv_pairs, (n, 1), generator=source)
        pairs = torch.stack([keys, values], dim=-1).flatten(1)
        inputs = torch.cat([pairs, keys.gather(1, asked)], dim=1)
        positions = torch.full((n, 1), self.max_len - 1)
        return Batch(inputs, positions, values.gather(1, asked))

    def roles(self, batch: Batch) -> Int64[Tensor, "n L"]:
        """Return the role of each token, as indices into `list(Role)`."""
        roles = torch.full_like(batch.inputs, Role.KEY.index)
        roles[:, 1::2] = Role.VALUE.index
        roles[:, -1] = Role.QUERY.index
        return roles

    def spell(self, token: int) -> str:
        """Return `k3` for a key, `v3` for a value."""
        return spell_pair_token(token, self.vocab_size)
