"""The processes that train one model together, as `torchrun` starts them.

Each has the whole model and its share of every batch; gradients are added up over all of them.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeVar

import torch
import torch.distributed as dist
from torch import Tensor

from recollect.errors import UserError

T = TypeVar("T")


@dataclass(frozen=True)
class Ranks:
    """This process among all.

    Attributes:
        rank: its number; 0 is the one that writes and speaks.
        count: how many there are.
    """

    rank: int = 0
    count: int = 1

    def rows(self, n: int) -> slice:
        """Which of `n` examples are for this process.

        Raises:
            UserError: if there are fewer examples than processes.
        """
        if n < self.count:
            raise UserError(f"{n} examples for {self.count} processes: expected one for each")
        return slice(n * self.rank // self.count, n * (self.rank + 1) // self.count)

    def add_up(self, tensors: Iterable[Tensor]) -> None:
        """Replace each tensor by its sum over all processes."""
        if self.count > 1:
            for under_way in [dist.all_reduce(tensor, async_op=True) for tensor in tensors]:
                under_way.wait()

    def told(self, value: T) -> T:
        """The value of the first process, in all of them."""
        values = [value]
        if self.count > 1:
            dist.broadcast_object_list(values)
        return values[0]


ALONE = Ranks()


def is_first() -> bool:
    """Whether this process is the one that writes and speaks; known before it has joined."""
    return os.environ.get("RANK", "0") == "0"


def own_device(device: torch.device) -> torch.device:
    """Of several GPUs, the one of this process."""
    if device.type == "cuda" and "LOCAL_RANK" in os.environ:
        return torch.device("cuda", int(os.environ["LOCAL_RANK"]))
    return device


@contextmanager
def joined(device: torch.device) -> Iterator[Ranks]:
    """All processes that `torchrun` has started, while the block lasts; this one alone, where it
    has not.

    Args:
        device: where this one computes.
    """
    if "WORLD_SIZE" not in os.environ:
        yield ALONE
        return
    if device.type == "cuda":
        torch.cuda.set_device(device)
    dist.init_process_group("nccl" if device.type == "cuda" else "gloo")
    try:
        yield Ranks(dist.get_rank(), dist.get_world_size())
        dist.barrier()  # none leaves while another may still wait for it
    finally:
        dist.destroy_process_group()
