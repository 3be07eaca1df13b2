"""What makes a difference that matters, the same for all claims and stated before any result."""

from __future__ import annotations

SOLVED = 0.9
"""A task is solved from here on."""
WHY_SOLVED = "0.9 is the line that Zoology draws for a task that is solved"

FAILED = 0.5
"""A task is failed below."""
WHY_FAILED = "below a half a model is nearer to guessing than to the solution"

ONE_PAIR = (0.5, 1.5)
"""How many of the pairs "about one" is."""
WHY_ONE_PAIR = "whatever rounds to one is about one"

AS_WIDE = 0.8
"""A learning-rate window of at least this share of another's is as wide."""
WHY_AS_WIDE = "edges lie between tried rates, so that a window of a decade is known to a fifth"

GAIN = 0.1
"""A gain in accuracy of at least so much is one."""
WHY_GAIN = "less than a tenth of the answers may be the luck of few seeds"

MUCH_MORE = 2.0
"""A gain so many times another's is much more than that."""
WHY_MUCH_MORE = "twice as much is much more"

LITTLE = 0.05
"""Accuracies that differ by no more differ little."""
WHY_LITTLE = "half of what counts as a gain"
