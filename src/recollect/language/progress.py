"""Callbacks that follow long work on texts."""

from __future__ import annotations

from collections.abc import Callable

OnCount = Callable[[int, int], None]
"""Called with the amount done and the total."""
OnProgress = Callable[[str, int, int], None]
"""Called with the name of the work, the amount done and the total."""
