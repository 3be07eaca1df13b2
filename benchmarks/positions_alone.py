"""How often a guess is right that knows the places of the queries, and no token.

    python benchmarks/positions_alone.py

For MQAR and forgetting MQAR of 64 tokens and 4 pairs, in random order and in the order of the
public generators. The guess is learnt from one set of examples and tested on another.
"""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Int64
from torch import Tensor

from recollect.tasks.mqar import MQAR
from recollect.tasks.task import task

N = 100_000


def slot_by_pair(of: Any, n: int, seed: int) -> Int64[Tensor, "n D"]:
    """At which slot each pair is asked for, of a task whose first 2 D tokens are pairs."""
    batch = of.sample(n, seed)
    keys = batch.inputs[:, : 2 * of.num_kv_pairs : 2]
    asked = batch.inputs.gather(1, batch.positions)
    turn = (keys[:, :, None] == asked[:, None, :]).int().argmax(dim=2)
    return (batch.positions.gather(1, turn) - of.context_len) // 2


def positions_alone(of: Any, n: int = N) -> float:
    """Of the best guess at the pair that is asked, given the query's place and rank alone."""
    slots, pairs = (of.seq_len - of.context_len) // 2, of.num_kv_pairs
    counts = torch.zeros(pairs, slots, pairs)
    rank = torch.arange(pairs).expand(n, pairs)
    slot, pair = slot_by_pair(of, n, seed=0).sort(dim=1)
    counts.index_put_((rank, slot, pair), torch.tensor(1.0), accumulate=True)
    slot, pair = slot_by_pair(of, n, seed=1).sort(dim=1)
    return float((counts[rank, slot].argmax(-1) == pair).double().mean())


def main() -> None:
    """Print a line for each task and order."""
    for order in ("random", "drawn"):
        for of in (
            MQAR(seq_len=64, num_kv_pairs=4, slot_order=order),
            task("forgetting", seq_len=64, num_kv_pairs=4, num_updates=4, slot_order=order),
        ):
            print(f"{of.label}: {positions_alone(of):.3f}, chance {of.chance:.3f}")


if __name__ == "__main__":
    main()
