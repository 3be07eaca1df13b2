"""An n-gram as one number, so that equal n-grams are equal numbers."""

from __future__ import annotations

import numpy as np
from jaxtyping import Integer, UInt64

from recollect.errors import UserError

CODES = 2**64 - 1
"""Number of codes; the next number means "never" in `ops.occurrence`."""


def check_ngrams(n: int, vocab_size: int) -> None:
    """Check that every n-gram of a vocabulary has its own code.

    Raises:
        UserError: if there are more n-grams than `CODES`, or n is not positive.
    """
    longest = max(length for length in range(1, 65) if vocab_size**length <= CODES)
    if not 1 <= n <= longest:
        raise UserError(f"n={n}: with {vocab_size:,} token ids, expected n from 1 to {longest}")


def ngram_codes(
    tokens: Integer[np.ndarray, " L"], n: int, vocab_size: int
) -> UInt64[np.ndarray, " K"]:
    """Codes of the K = max(L - n + 1, 0) n-grams, by first token: digits to the base
    `vocab_size`."""
    count = max(len(tokens) - n + 1, 0)
    codes = np.zeros(count, np.uint64)
    for place in range(n):
        codes *= np.uint64(vocab_size)
        codes += tokens[place : place + count].astype(np.uint64)
    return codes
