"""A batch of examples with its supervised positions."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from jaxtyping import Int64
from torch import Tensor

from recollect.errors import UserError

IGNORED = -100
"""The label that PyTorch's losses skip."""


@dataclass(frozen=True)
class Batch:
    """Examples of one length.

    Attributes:
        inputs: token ids, (n, L).
        positions: supervised positions, (n, Q), ascending in each row; None: all positions.
        targets: the token to predict at each supervised position, (n, Q).
        marks: annotations of the answers for the task's metrics, (n, Q), hidden from models; None:
            there are none.

    Raises:
        UserError: for anything but tensors, and if the number of targets is not that of the
            supervised positions.
    """

    inputs: Int64[Tensor, "n L"]
    positions: Int64[Tensor, "n Q"] | None
    targets: Int64[Tensor, "n Q"]
    marks: Int64[Tensor, "n Q"] | None = None

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if value is not None and not isinstance(value, Tensor):
                raise UserError(f"{name} of {type(value).__name__}, expected a torch.Tensor")
        asked = self.inputs if self.positions is None else self.positions
        if self.targets.shape != asked.shape:
            raise UserError(
                f"targets of shape {tuple(self.targets.shape)}, supervised positions of shape"
                f" {tuple(asked.shape)}: expected one target for each supervised position"
            )

    def __len__(self) -> int:
        return self.inputs.shape[0]

    def __getitem__(self, rows: slice | Tensor) -> Batch:
        """Return the batch of some rows."""
        return self._each(lambda tensor: tensor[rows])

    def checked(self, n: int, vocab_size: int, max_len: int, task: str) -> Batch:
        """Return the batch if it has `n` examples, whose token ids and positions exist.

        Args:
            n: the number of examples that were asked for.
            vocab_size: the number of token ids.
            max_len: the length of the longest input.
            task: the label of the task, for the message.

        Returns:
            The batch itself.

        Raises:
            UserError: if there are more or fewer examples, if a token id or a position is out of
                range, if an input is too long, or if positions do not ascend.
        """
        for name, tensor in self.tensors().items():
            if tensor.ndim != 2 or len(tensor) != n:
                raise UserError(
                    f"task {task}: sample({n}, seed) returns {name} of shape"
                    f" {tuple(tensor.shape)}, expected two dimensions, with {n} rows, one for each"
                    " example"
                )
        length = self.inputs.shape[1]
        if length > max_len:
            raise UserError(f"task {task}: inputs of {length} tokens, but max_len is {max_len}")
        ranges = {"inputs": vocab_size, "targets": vocab_size, "positions": length}
        for name, tensor in self.tensors().items():
            if tensor.dtype != torch.int64:
                raise UserError(f"task {task}: {name} of {tensor.dtype}, expected torch.int64")
            if name in ranges and tensor.numel():
                low, high = (int(end) for end in tensor.aminmax())
                if low < 0 or high >= ranges[name]:
                    raise UserError(
                        f"task {task}: {name} from {low} to {high}, expected 0 to"
                        f" {ranges[name] - 1}"
                    )
        if self.positions is not None and bool((self.positions.diff() <= 0).any()):
            raise UserError(f"task {task}: supervised positions do not ascend in each example")
        return self

    def split(self, rows: int) -> list[Batch]:
        """Split the batch into batches of at most `rows` examples."""
        return [self[start : start + rows] for start in range(0, len(self), rows)]

    def to(self, device: torch.device | str) -> Batch:
        """Return the batch on `device`."""
        return self._each(lambda tensor: tensor.to(device))

    def clone(self) -> Batch:
        """Return a copy with its own memory."""
        return self._each(Tensor.clone)

    def labels(self) -> Int64[Tensor, "n L"]:
        """Return dense labels (n, L): targets at supervised positions, -100 elsewhere."""
        if self.positions is None:
            return self.targets
        labels = torch.full_like(self.inputs, IGNORED)
        return labels.scatter_(1, self.positions, self.targets)

    def tensors(self) -> dict[str, Tensor]:
        """Return the tensors that are not None, by name: `inputs` (n, L); `positions`, `targets`
        and `marks` (n, Q)."""
        return {name: tensor for name, tensor in vars(self).items() if tensor is not None}

    @classmethod
    def of(cls, tensors: Mapping[str, Tensor]) -> Batch:
        """Build a batch from its tensors by name, the inverse of `tensors`."""
        return cls(
            tensors["inputs"], tensors.get("positions"), tensors["targets"], tensors.get("marks")
        )

    def _each(self, change: Callable[[Tensor], Tensor]) -> Batch:
        return Batch.of({name: change(tensor) for name, tensor in self.tensors().items()})
