"""Data-parallel training of one model by several processes, started by `torchrun`.

Each process has the whole model and its share of every batch; gradients are summed over processes.
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
    """The rank of this process.

    Attributes:
        rank: its number; process 0 writes files and prints.
        count: number of processes.
    """

    rank: int = 0
    count: int = 1

    def rows(self, n: int) -> slice:
        """Slice of `n` examples that this process works on.

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

    def broadcast(self, value: T) -> T:
        """Value of the first process, sent to all."""
        values = [value]
        if self.count > 1:
            dist.broadcast_object_list(values)
        return values[0]


ALONE = Ranks()


def is_first() -> bool:
    """Whether this process writes files and prints; can be called before `joined`."""
    return os.environ.get("RANK", "0") == "0"


def own_device(device: torch.device) -> torch.device:
    """GPU of this process, if there are several."""
    if device.type == "cuda" and "LOCAL_RANK" in os.environ:
        return torch.device("cuda", int(os.environ["LOCAL_RANK"]))
    return device


@contextmanager
def joined(device: torch.device) -> Iterator[Ranks]:
    """Connect the processes started by `torchrun`; without `torchrun`, this process is alone.

    Args:
        device: the device of this process.
    """
    if "WORLD_SIZE" not in os.environ:
        yield ALONE
        return
    if device.type == "cuda":
        torch.cuda.set_device(device)
    dist.init_process_group("nccl" if device.type == "cuda" else "gloo")
    try:
        yield Ranks(dist.get_rank(), dist.get_world_size())
        dist.barrier()  # no process leaves while another may still wait for it
    finally:
        dist.destroy_process_group()
