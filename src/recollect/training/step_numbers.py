"""Numbers that a training step of several models reads besides examples.

They are tensors on the models' device, made for many steps at once. A step then never waits for the
host, and can be captured once and replayed with other numbers. Dimensions: P models.
"""

from __future__ import annotations

from dataclasses import dataclass

from jaxtyping import Float, Int32
from torch import Tensor


@dataclass(frozen=True)
class Numbers:
    """Numbers of one step, or of several steps with a leading dimension.

    Attributes:
        rates: the learning rates.
        corrections: the result of `stacked_update.corrections` for each kind of optimiser.
        masks: the keys of the dropout masks; None: no dropout.
    """

    rates: Float[Tensor, "*steps P"]
    corrections: Float[Tensor, "*steps kinds 2"]
    masks: Int32[Tensor, "*steps P 2"] | None

    def __getitem__(self, step: int) -> Numbers:
        return Numbers.of({name: tensor[step] for name, tensor in self.tensors().items()})

    def tensors(self) -> dict[str, Tensor]:
        """Tensors by name, without those that are None."""
        return {name: tensor for name, tensor in vars(self).items() if tensor is not None}

    @classmethod
    def of(cls, tensors: dict[str, Tensor]) -> Numbers:
        """Inverse of `tensors`."""
        return cls(tensors["rates"], tensors["corrections"], tensors.get("masks"))
