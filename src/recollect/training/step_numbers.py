"""What a training step of several models reads besides examples.

They are tensors on the models' device, made for many steps at once: a step then waits for nothing,
and can be captured once and replayed with other numbers. Letters: P models.
"""

from __future__ import annotations

from dataclasses import dataclass

from jaxtyping import Float, Int32
from torch import Tensor


@dataclass(frozen=True)
class Numbers:
    """What a step reads besides examples; with one more dimension in front, what several read.

    Attributes:
        rates: the learning rates.
        corrections: as `stacked_update.corrections` gives them, for each kind of optimiser.
        masks: the keys of the masks of dropout, where there are any.
    """

    rates: Float[Tensor, "*steps P"]
    corrections: Float[Tensor, "*steps kinds 2"]
    masks: Int32[Tensor, "*steps P 2"] | None

    def __getitem__(self, step: int) -> Numbers:
        return Numbers.of({name: tensor[step] for name, tensor in self.tensors().items()})

    def tensors(self) -> dict[str, Tensor]:
        """By name, those that there are."""
        return {name: tensor for name, tensor in vars(self).items() if tensor is not None}

    @classmethod
    def of(cls, tensors: dict[str, Tensor]) -> Numbers:
        """Of what `tensors` gives."""
        return cls(tensors["rates"], tensors["corrections"], tensors.get("masks"))
