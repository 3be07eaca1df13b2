"""The base of MAD's tasks of in-context recall: pairs of keys and values, with repeated keys.

Every next token is a target. A model can know the values of keys that it has read before; these
targets are marked, and the metric `recalled` is the accuracy on them, as in MAD.
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
"""Number of examples on which the chance level is measured."""
Word = tuple[int, ...]


def recalled(logits: Tensor, batch: Batch) -> tuple[Tensor, Tensor]:
    """Return the number of correct marked answers in each example, and the number of all marked."""
    assert batch.marks is not None
    hits = (logits.argmax(dim=-1) == batch.targets) * batch.marks
    return hits.sum(dim=1), batch.marks.sum(dim=1)


class InContext(Task):
    """Next tokens of a sequence of pairs.

    A subclass defines its examples and its vocabulary, in which "k" is the range of letters of
    keys, and "v" that of values.
    """

    @property
    def tokens(self) -> Vocabulary:
        """The ranges of token ids."""
        raise NotImplementedError

    @property
    def metrics(self) -> tuple[Metric, ...]:
        """The accuracy on values of keys that were read before.

        Its `guess` is the accuracy of the most frequent value, measured on `MEASURED` examples.
        """
        return (Metric("recalled", recalled, guess=self._guesses[1]),)

    @property
    def chance(self) -> float:
        """Accuracy on all next tokens of two guesses, measured on `MEASURED` examples.

        They are the most frequent value for a recalled value, and elsewhere the most frequent token
        after a token of the same kind.
        """
        return self._guesses[0]

    @cached_property
    def _guesses(self) -> tuple[float, float]:
        """Accuracies of guesses on all tokens, and on the marked ones."""
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
        """For each letter of each recalled value, the accuracy of the most frequent letter.

        Its frequency is counted in the values read so far that begin with the same letters.
        """
        seen: dict[Word, Word] = {}
        for key, value in self._pairs(tokens):
            for place in range(len(value) if key in seen else 0):
                alike = (v for v in seen.values() if v[:place] == value[:place] and len(v) > place)
                following = Counter(word[place] for word in alike)
                yield max(following.values()) / following.total()
            seen[key] = value

    def _pairs(self, tokens: Sequence[int]) -> Iterator[tuple[Word, Word]]:
        """Yield each key with the value after it, both as runs of letters."""
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
        """Return the role of each token, as indices into `list(Role)`.

        A query is the last token before an answer that can be known.
        """
        assert batch.marks is not None
        return self._kinds(batch.inputs).masked_fill_(batch.marks > 0, Role.QUERY.index)

    def spell(self, token: int) -> str:
        """Return `k3` for a letter of a key, `v3` for a letter of a value."""
        return self.tokens.spell(token)
