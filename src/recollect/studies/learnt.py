"""Wording of results: models that have not learnt, ranges of rates, accuracies."""

from __future__ import annotations

from typing import Any

import pandas as pd


def has_not_learnt(cell: Any) -> bool:
    """Whether no reported trial in a row of `cells_frame` left the initial plateau; False if
    unknown."""
    return bool(pd.notna(cell.learnt) and not cell.learnt)


def not_learnt(
    steps: float, lowest_rate: float, highest_rate: float, learnt_searching: int, of: int
) -> str:
    """Text such as `not learnt in 2,000 steps at rates 1e-4 to 1e-1`. If trials left the plateau on
    search seeds, it adds `(left the plateau on 1 of 2 seeds of the search)`."""
    rates = rates_text(lowest_rate, highest_rate)
    said = f"not learnt in {steps:,.0f} steps at {'rates' if ' ' in rates else 'rate'} {rates}"
    if not learnt_searching:
        return said
    return f"{said} (left the plateau on {learnt_searching} of {of} seeds of the search)"


def rates_text(lowest: float, highest: float) -> str:
    """Text of a range of learning rates, `1e-4 to 1e-1`, or of a single one, `1e-3`."""
    return " to ".join(dict.fromkeys([rate_text(lowest), rate_text(highest)]))


def rate_text(rate: float) -> str:
    """Text of a learning rate with up to three digits: `1e-4`, `4.64e-4`."""
    digits, exponent = f"{rate:.2e}".split("e")
    return f"{digits.rstrip('0').rstrip('.')}e{int(exponent)}"


def rounded(value: float, decimals: int = 3) -> str:
    """Text of a rounded number; a number below 1 never reads 1.000, because an accuracy of 1.000
    says that every answer is correct."""
    below = value < 1 and round(value, decimals) >= 1
    return f"{1 - 10.0**-decimals if below else value:.{decimals}f}"
