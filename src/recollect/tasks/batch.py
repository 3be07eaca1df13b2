"""A batch of examples that names its supervised positions."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from jaxtyping import Int64
from torch import Tensor

IGNORED = -100
"""The label that PyTorch's losses skip."""


@dataclass(frozen=True)
class Batch:
    """Examples of one length.

    Attributes:
        inputs: token ids, (n, L).
        positions: where the model must answer, (n, Q), ascending in each row; None: everywhere.
        targets: the token to predict at each of these positions, (n, Q).
        marks: what a task notes of each answer for its metrics, (n, Q); models do not see it. None:
            nothing.
    """

    inputs: Int64[Tensor, "n L"]
    positions: Int64[Tensor, "n Q"] | None
    targets: Int64[Tensor, "n Q"]
    marks: Int64[Tensor, "n Q"] | None = None

    def __len__(self) -> int:
        return self.inputs.shape[0]

    def __getitem__(self, rows: slice | Tensor) -> Batch:
        """The examples of some rows."""
        return self._each(lambda tensor: tensor[rows])

    def split(self, rows: int) -> list[Batch]:
        """The same examples in batches of `rows` each; the last batch may have fewer."""
        return [self[start : start + rows] for start in range(0, len(self), rows)]

    def to(self, device: torch.device | str) -> Batch:
        """The same examples on `device`."""
        return self._each(lambda tensor: tensor.to(device))

    def clone(self) -> Batch:
        """A copy with memory of its own."""
        return self._each(Tensor.clone)

    def labels(self) -> Int64[Tensor, "n L"]:
        """The dense form that other tools read, (n, L): the target at each position of `positions`,
        -100 elsewhere."""
        if self.positions is None:
            return self.targets
        labels = torch.full_like(self.inputs, IGNORED)
        return labels.scatter_(1, self.positions, self.targets)

    def tensors(self) -> dict[str, Tensor]:
        """Its tensors by name, without those that are None: `inputs` (n, L), `positions`, `targets`
        and `marks` (n, Q)."""
        return {name: tensor for name, tensor in vars(self).items() if tensor is not None}

    @classmethod
    def of(cls, tensors: Mapping[str, Tensor]) -> Batch:
        """The batch with these `tensors`, the inverse of its method `tensors`."""
        return cls(
            tensors["inputs"], tensors.get("positions"), tensors["targets"], tensors.get("marks")
        )

    def _each(self, change: Callable[[Tensor], Tensor]) -> Batch:
        return Batch.of({name: change(tensor) for name, tensor in self.tensors().items()})
