"""A batch of examples that names its supervised positions."""

from __future__ import annotations

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
    """

    inputs: Int64[Tensor, "n L"]
    positions: Int64[Tensor, "n Q"] | None
    targets: Int64[Tensor, "n Q"]

    def __len__(self) -> int:
        return self.inputs.shape[0]

    def __getitem__(self, rows: slice | Tensor) -> Batch:
        """The examples of some rows."""
        positions = None if self.positions is None else self.positions[rows]
        return Batch(self.inputs[rows], positions, self.targets[rows])

    def split(self, rows: int) -> list[Batch]:
        """The same examples, so many at a time."""
        return [self[start : start + rows] for start in range(0, len(self), rows)]

    def to(self, device: torch.device | str) -> Batch:
        """The same examples on `device`."""
        positions = None if self.positions is None else self.positions.to(device)
        return Batch(self.inputs.to(device), positions, self.targets.to(device))

    def labels(self) -> Int64[Tensor, "n L"]:
        """The dense form that other tools read: the target at each position, -100 elsewhere."""
        if self.positions is None:
            return self.targets
        labels = torch.full_like(self.inputs, IGNORED)
        return labels.scatter_(1, self.positions, self.targets)
