"""The names of the kinds of figures of a study, as users type them."""

from __future__ import annotations

KINDS = ("accuracy", "learning-rate", "training")
"""The kinds of figures that are drawn from results alone, and without being asked for."""
OBSERVED = ("dynamics", "attention-map", "gaps")
"""The kinds of figures that need a study with `observe=True`."""
TRADEOFF = "tradeoff"
"""The kind of figure that needs a benchmark file."""
CAPACITY = "capacity"
STATE = "state"
"""The kinds of figures that measure the models' recurrent states."""
ALL_KINDS = (*KINDS, *OBSERVED, TRADEOFF, CAPACITY, STATE)
