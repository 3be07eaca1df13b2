"""Margins: how large a difference must be to count, fixed in advance for all claims."""

from __future__ import annotations

SOLVED = 0.9
"""A task is solved at this accuracy or above."""
WHY_SOLVED = "0.9 is the accuracy at which Zoology calls a task solved"

FAILED = 0.5
"""A task is failed below this accuracy."""
WHY_FAILED = "below 0.5 a model is nearer to guessing than to the solution"

ONE_PAIR = (0.5, 1.5)
"""The numbers of pairs that count as "about one"."""
WHY_ONE_PAIR = "numbers that round to one are about one"

AS_WIDE = 0.8
"""A learning-rate window counts as equally wide at this share of the other's or more."""
WHY_AS_WIDE = "a difference of less than a fifth hardly matters when a learning rate is searched"

GAIN = 0.1
"""The smallest gain in accuracy that counts."""
WHY_GAIN = "a gain on less than a tenth of the answers may be luck with few seeds"

MUCH_MORE = 2.0
"""A gain of this many times another's counts as much more."""
WHY_MUCH_MORE = "much more means at least twice as much"

LITTLE = 0.05
"""Accuracies that differ by at most this much differ little."""
WHY_LITTLE = "half of what counts as a gain"
