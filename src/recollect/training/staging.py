"""Transfer of the examples of several models to the device.

Models with the same source of examples share one copy, which is expanded on the device.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from jaxtyping import Int64
from torch import Tensor

from recollect.tasks.batch import Batch

Tensors = dict[str, Tensor]
Source = tuple[int, int]
"""Seeds of examples and order; trials that share them see the same examples."""


class Staging:
    """Moves the examples of a stack's models to their device. Dimensions: P models, S sources.

    Args:
        sources: the source of each model.
        device: of the models.
    """

    def __init__(self, sources: Sequence[Source], device: torch.device) -> None:
        self.sources, self._device = list(dict.fromkeys(sources)), device
        places = [self.sources.index(source) for source in sources]
        self._rows: Int64[Tensor, " P"] = torch.tensor(places, device=device)

    def to_device(self, batches: Mapping[Source, Batch]) -> Tensors:
        """Stack the examples of all sources, with a leading S.

        The copy to a GPU is asynchronous, from pinned memory.
        """
        parts = [batches[source].tensors() for source in self.sources]
        together = {name: torch.stack([part[name] for part in parts]) for name in parts[0]}
        if self._device.type != "cuda":
            return together
        return {
            name: tensor.pin_memory().to(self._device, non_blocking=True)
            for name, tensor in together.items()
        }

    def for_each_model(self, examples: Mapping[str, Tensor]) -> Batch:
        """Examples of every model, with a leading P, from those with a leading S."""
        return Batch.of({name: x.index_select(0, self._rows) for name, x in examples.items()})
