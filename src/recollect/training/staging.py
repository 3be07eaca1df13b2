"""The examples of several models on their way to the device.

Models that share a source of examples share one copy; each gets its rows on the device.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from jaxtyping import Int64
from torch import Tensor

from recollect.tasks.batch import Batch

Tensors = dict[str, Tensor]
Source = tuple[int, int]
"""Seeds of examples and order: trials that share them see the same."""


class Staging:
    """Where the models of a stack get their examples. Letters: P models, S sources.

    Args:
        sources: that of each model.
        device: of the models.
    """

    def __init__(self, sources: Sequence[Source], device: torch.device) -> None:
        self.sources, self._device = list(dict.fromkeys(sources)), device
        places = [self.sources.index(source) for source in sources]
        self._rows: Int64[Tensor, " P"] = torch.tensor(places, device=device)

    def to_device(self, batches: Mapping[Source, Batch]) -> Tensors:
        """The examples of all sources, one after the other, with a leading S.

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
        """Every model's examples, with a leading P, of those with a leading S."""
        return Batch.of({name: x.index_select(0, self._rows) for name, x in examples.items()})
