"""What MAD's tasks of in-context recall have in common: pairs of a key and a value, of which keys
come again, and every next token is a target.

The targets that a model can know are those of a key that was read before: they are marked, and
`recalled` is the accuracy on them alone, as it is published.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from functools import cached_property

import torch
from jaxtyping import Int64
from torch import Tensor

from recollect.tasks._vocabulary import Vocabulary
from recollect.tasks.batch import Batch
from recollect.tasks.metric import Metric
from recollect.tasks.task import Role, Task

MEASURED = 64
"""Examples on which the level of guessing is measured."""
Word = tuple[int, ...]


def recalled(logits: Tensor, batch: Batch) -> tuple[Tensor, Tensor]:
    """How many of the marked answers of each example are right, and how many there are."""
    assert batch.marks is not None
    hits = (logits.argmax(dim=-1) == batch.targets) * batch.marks
    return hits.sum(dim=1), batch.marks.sum(dim=1)


class InContext(Task):
    """Next tokens of a sequence of pairs. A subclass gives its examples and its vocabulary: "k" are
    the letters of keys, "v" those of values."""

    @property
    def tokens(self) -> Vocabulary:
        """The ranges of token ids."""
        raise NotImplementedError

    @property
    def metrics(self) -> tuple[Metric, ...]:
        """The accuracy on the values of keys that were read before; its `guess` is that of the most
        frequent value, measured on `MEASURED` examples."""
        return (Metric("recalled", recalled, guess=self._guesses[1]),)

    @property
    def chance(self) -> float:
        """Of all next tokens: the most frequent one behind a token of such a kind, and the most
        frequent value where one is recalled; measured likewise."""
        return self._guesses[0]

    @cached_property
    def _guesses(self) -> tuple[float, float]:
        """On all tokens, and on the marked ones."""
        batch = self.split("valid").sample(MEASURED, seed=0)
        assert batch.marks is not None
        marked = batch.marks > 0
        whole = torch.cat([batch.inputs, batch.targets[:, -1:]], dim=1)
        shares = [share for tokens in whole.tolist() for share in self._blind(tokens)]
        assert len(shares) == marked.sum()
        kinds = self._kinds(batch.inputs)
        right = sum(shares)
        for kind in range(len(Role)):
            following = batch.targets[(kinds == kind) & ~marked]
            right += int(following.bincount(minlength=1).max()) if len(following) else 0
        return right / marked.numel(), sum(shares) / len(shares)

    def _blind(self, tokens: Sequence[int]) -> Iterator[float]:
        """For each letter of each recalled value, the share of the values read so far that go on
        with the likeliest letter, among those that begin alike."""
        seen: dict[Word, Word] = {}
        for key, value in self._pairs(tokens):
            for place in range(len(value) if key in seen else 0):
                alike = (v for v in seen.values() if v[:place] == value[:place] and len(v) > place)
                following = Counter(word[place] for word in alike)
                yield max(following.values()) / following.total()
            seen[key] = value

    def _pairs(self, tokens: Sequence[int]) -> Iterator[tuple[Word, Word]]:
        """Each run of a key's letters with the run of a value's letters behind it."""
        key: list[int] = []
        value: list[int] = []
        for token in [*tokens, -1]:
            kind = self.tokens.spell(token)[0] if token >= 0 else ""
            if value and kind != "v":
                yield tuple(key), tuple(value)
                key, value = [], []
            if kind in ("k", "v"):
                (key if kind == "k" else value).append(token)

    def _kinds(self, inputs: Int64[Tensor, "n L"]) -> Int64[Tensor, "n L"]:
        kinds = torch.full_like(inputs, Role.FILLER.index)
        for name, role in (("k", Role.KEY), ("v", Role.VALUE)):
            first = self.tokens[name]
            kinds[(inputs >= first) & (inputs < first + self.tokens.sizes[name])] = role.index
        return kinds

    def roles(self, batch: Batch) -> Int64[Tensor, "n L"]:
        """What each token is there for, as indices into `list(Role)`; a query is the last token
        before an answer that can be known."""
        assert batch.marks is not None
        return self._kinds(batch.inputs).masked_fill_(batch.marks > 0, Role.QUERY.index)

    def spell(self, token: int) -> str:
        """`k3` for a letter of a key, `v3` for one of a value."""
        return self.tokens.spell(token)
