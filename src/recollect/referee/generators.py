"""The random generators of this process: seed them, restore them, and see which are used."""

from __future__ import annotations

import pickle
import random
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

import numpy as np
import torch

from recollect.seeding import seed_generators

PYTORCH, OTHERS = "PyTorch's", ("Python's", "NumPy's")
"""The generators that trials seed, and those that they do not."""
SEEDS = (0, 1)


def seed_all(seed: int, device: torch.device) -> None:
    """Seed the generators of PyTorch, from which a module on `device` draws, Python and NumPy."""
    seed_generators(seed, device)
    random.seed(seed)
    np.random.seed(seed)  # noqa: NPY002 (users' mixers draw from it)


@contextmanager
def kept(gpus: Iterable[int] = ()) -> Iterator[None]:
    """Context that restores the generators of the CPU, some GPUs, Python and NumPy afterwards."""
    python, numpy = random.getstate(), np.random.get_state()  # noqa: NPY002
    with torch.random.fork_rng(devices=gpus):
        try:
            yield
        finally:
            random.setstate(python)
            np.random.set_state(numpy)  # noqa: NPY002


def misused(what: str, call: Callable[[int], object]) -> str | None:
    """Say whether a call sets PyTorch's seed, or draws from a generator that trials do not seed.

    Args:
        what: the call in words.
        call: seeds all generators with the given number and makes the call.
    """
    before, after = {}, {}
    for seed in SEEDS:
        seed_all(seed, torch.device("cpu"))
        before[seed] = _states()
        call(seed)
        after[seed] = _states()
    one, other = (after[seed] for seed in SEEDS)
    if one[PYTORCH] == other[PYTORCH]:
        return (
            f"{what} sets the seed of PyTorch's random numbers, so what is drawn after it, in later"
            " layers too, is the same for all seeds: use a torch.Generator, or"
            " torch.random.fork_rng"
        )
    for name in OTHERS:
        is_drawn = all(before[seed][name] != after[seed][name] for seed in SEEDS)
        if is_drawn and one[name] != other[name]:
            return (
                f"{what} draws from {name} random numbers, which trials do not seed: use PyTorch's"
            )
    return None


def _states() -> dict[str, bytes]:
    python, numpy = random.getstate(), np.random.get_state()  # noqa: NPY002
    others = dict(zip(OTHERS, map(pickle.dumps, (python, numpy)), strict=True))
    return {PYTORCH: torch.get_rng_state().numpy().tobytes()} | others
