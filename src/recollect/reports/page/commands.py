"""Commands that reproduce or print the numbers of a study."""

from __future__ import annotations

import shlex
from contextlib import suppress
from functools import cache
from pathlib import Path

from recollect.errors import UserError
from recollect.papers.scale import SCALES
from recollect.studies.cell import Cell
from recollect.studies.shipped import STUDIES

OWN_FUNCTION = "FILE.py:FUNCTION"
"""Placeholder in a command for the user's function that returns a study."""


def show_command(study: str, store: Path) -> str:
    """The command that prints every trial of a study."""
    return shlex.join(["recollect", "show", study, "--store", str(store), "--trials"])


def run_command(study: str, cell: Cell, store: Path) -> tuple[str, bool]:
    """The command that trains a cell, unless the store has all its trials.

    Returns:
        The command, and True if it is complete, that is if a shipped study has exactly this cell.
        Otherwise the cell belongs to the user's study or was changed by `--set`, and the command
        contains `OWN_FUNCTION` in place of the study.
    """
    part = {"mixers": cell.mixer, "tasks": cell.task}
    part |= {"widths": str(cell.d_model), "depths": str(cell.n_layers)}
    options = [word for name, value in part.items() for word in (f"--{name}", value)]
    found = _as_shipped(study, cell)
    words = ["recollect", "run", *(found or [OWN_FUNCTION]), "--store", str(store), *options]
    return shlex.join(words), found is not None


def _as_shipped(study: str, cell: Cell) -> list[str] | None:
    """Arguments that name the shipped study with this cell, the same search and the same seeds;
    None if there is none."""
    for scale in SCALES:
        whole = _shipped(study, scale).get(cell.id)
        if whole is None or whole.search != cell.search:
            continue
        count = len(cell.seeds)
        if whole.seeds[:count] == cell.seeds:
            words = [study] if scale == SCALES[0] else [study, "--scale", scale]
            return words if whole.seeds == cell.seeds else [*words, "--seeds", str(count)]
    return None


@cache
def _shipped(study: str, scale: str) -> dict[str, Cell]:
    """The cells of a shipped study by id; empty if there is no such study."""
    if study in STUDIES:
        with suppress(UserError):  # it lacks this scale, or its text is not on this machine
            return {cell.id: cell for cell in STUDIES[study](scale).cells()}
    return {}
