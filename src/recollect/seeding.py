"""Randomness: every stream has a name, and its seed depends on that name and on nothing else."""

from __future__ import annotations

import hashlib


def derive_seed(*names: int | str) -> int:
    """A 63-bit seed for the stream called `names`, for instance `derive_seed(42, "train", step)`.

    Streams of different names are independent, whatever was drawn before.
    """
    spelled = "/".join(str(name) for name in names)
    return int.from_bytes(hashlib.sha256(spelled.encode()).digest()[:8], "big") >> 1
