"""Random streams: every stream has a name, and its seed depends only on that name."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Annotated

from pydantic import AfterValidator

from recollect.errors import UserError

if TYPE_CHECKING:
    import torch

READ = 2**32
"""PyTorch's CPU generator reads a seed modulo this number."""
STORED = 2**63
"""SQLite stores integers from -STORED to STORED - 1."""


def derive_seed(*names: int | str) -> int:
    """A 63-bit seed for the stream called `names`, for instance `derive_seed(42, "train", step)`.

    Streams of different names are independent, whatever was drawn before. The CPU generator reads
    32 of the bits, so two given streams are equal with probability 2^-32.
    """
    spelled = "/".join(str(name) for name in names)
    return int.from_bytes(hashlib.sha256(spelled.encode()).digest()[:8], "big") >> 1


def generator_seed(seed: int) -> int:
    """The seed for a generator, given a user's seed.

    A seed that the generator reads completely is used as it is; any other is hashed, so that every
    bit counts.
    """
    return seed if is_read_whole(seed) else derive_seed("seed", seed)


def is_read_whole(seed: int) -> bool:
    """Return True if the CPU generator reads every bit of the seed."""
    return 0 <= seed < READ


def seed_generators(seed: int, device: torch.device) -> None:
    """Seed PyTorch's own generators, from which a model on `device` draws.

    `torch.manual_seed` gives the same numbers but is slower, because it visits every kind of
    accelerator.
    """
    import torch

    torch.default_generator.manual_seed(seed)
    if device.type == "cuda":
        torch.cuda.manual_seed_all(seed)
    elif device.type != "cpu":
        torch.manual_seed(seed)


def _check_stored(seed: int) -> int:
    if not -STORED <= seed < STORED:
        raise UserError(f"the seed {seed} cannot be stored: expected -2^63 to 2^63 - 1")
    return seed


Seed = Annotated[int, AfterValidator(_check_stored)]
"""A seed in a config, within the range that a store can hold."""
