"""The cells of a study: those it has, whichever parts were run, and those it had before."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from recollect.own_functions import name_and_digest
from recollect.plain import leaves
from recollect.studies.cell import DERIVED, Cell

VERSIONS = ("numerics", "source", "foreign")
"""Fields that hold a version: of the trainer, of a mixer or of a task."""
OPTIMIZER = "template.train.optimizer"
COMMON = ("template.train.", "template.test_tasks", "search.")
"""Prefixes of fields that the cells of a study share."""
FACTS = ("chance", "marginal_loss")
"""Fields that follow from the task; their last digits depend on the machine."""
FEW = 3
"""Number of differences that a message names."""


def listing(whole: Iterable[Cell], part: Iterable[Cell], listed: Iterable[Cell]) -> list[Cell]:
    """Cells to list for a study of which a part is run, in the order of the study.

    Args:
        whole: all cells of the study.
        part: the cells that are run, on all seeds or the first ones.
        listed: the cells that earlier runs have listed. Those that the study still has stay, even
            if they were run with another version of mixer, task or trainer.
    """
    run = {cell.label: cell for cell in part}
    before = {cell.label: cell for cell in listed}
    asked = {cell.label: cell for cell in whole} | run
    found = []
    for label, cell in asked.items():
        if label in run:
            found.append(cell)
        elif label in before and is_part(before[label], cell, versions=False):
            found.append(_with_facts(before[label], cell))
    return found


def _with_facts(before: Cell, cell: Cell) -> Cell:
    """A listed cell with the facts of this version, unless its task is of another version."""
    if not is_part(before, cell):
        return before
    return before.replace(**{name: getattr(cell, name) for name in FACTS})


def left_out(cells: Iterable[Cell], listed: Iterable[Cell]) -> list[Cell]:
    """Cells in `cells` that a study with the cells `listed` no longer has."""
    now = {cell.label: cell for cell in listed}
    return [cell for cell in cells if not is_part(cell, now.get(cell.label))]


def is_part(cell: Cell, whole: Cell | None, *, versions: bool = True) -> bool:
    """Whether two cells are equal except for the number of seeds.

    Args:
        cell: one cell.
        whole: the other; None: there is none.
        versions: whether the versions of mixer, task and trainer must be equal too.
    """
    if whole is None:
        return False
    n = min(len(cell.seeds), len(whole.seeds))
    return cell.seeds[:n] == whole.seeds[:n] and _content(cell, versions=versions) == _content(
        whole, versions=versions
    )


def are_equal(cell: Cell, other: Cell) -> bool:
    """Whether two cells are equal, whatever a store of an older version lacks."""
    return cell.seeds == other.seeds and is_part(cell, other)


def difference(cell: Cell, other: Cell | None) -> str:
    """Text of the differences between two cells of the same label.

    `seeds=3,4 (1,2)` has the other cell's value in parentheses.

    Args:
        cell: one cell.
        other: the other; None: there is none.
    """
    if other is None:
        return "not in the study"
    return few(dict.fromkeys(_differences(cell, other)))


def few(words: Iterable[str]) -> str:
    """Text of the first few differences and the number of the others."""
    differences = [*words]
    more = f" and {len(differences) - FEW} more" if len(differences) > FEW else ""
    return "; ".join(differences[:FEW]) + more


def settings_apart(cell: Cell, other: Cell) -> tuple[str, ...]:
    """Differences of two cells in training, search and test tasks, without those that their recipes
    name."""
    named = {each.partition("=")[0] for each in f"{cell.recipe}, {other.recipe}".split(", ")}
    words = dict.fromkeys(_differences(cell, other, common=True))
    return tuple(w for w in words if w.removeprefix("train.").partition("=")[0] not in named)


def _differences(cell: Cell, other: Cell, *, common: bool = False) -> Iterable[str]:
    """Texts of the differences; `common`: only in fields that the cells of a study share."""
    if cell.seeds != other.seeds and not common:
        yield f"seeds={_numbers(cell.seeds)} ({_numbers(other.seeds)})"
    kind, its_kind = (type(each.search).__name__ for each in (cell, other))
    if kind != its_kind:
        yield f"search={kind} ({its_kind})"
    ours, theirs = _content(cell), _content(other)
    for name in ours | theirs:
        if ours.get(name) == theirs.get(name):
            continue
        if common and not name.startswith(COMMON):
            continue
        if kind != its_kind and name.startswith("search."):
            continue  # two kinds have little in common
        *place, last = name.removeprefix("template.").split(".")
        if _is_version(name):
            kinds = {"model": f"mixer of {cell.mixer}", "task": "task", "test_tasks": "test task"}
            yield f"another version of the {kinds.get(place[0], 'task') if place else 'trainer'}"
        elif name == OPTIMIZER and _unversioned(ours.get(name)) == _unversioned(theirs.get(name)):
            yield "another version of the optimizer"
        else:
            yield f"{'.'.join([*place, last])}={ours.get(name)} ({theirs.get(name)})"


def _content(cell: Cell, *, versions: bool = True) -> dict[str, Any]:
    """All fields except the seeds and those that follow from others, by dotted names."""
    values = dict(leaves(cell.model_dump(mode="json", exclude={"seeds", *FACTS, *DERIVED})))
    if versions:
        return values
    plain = {name: value for name, value in values.items() if not _is_version(name)}
    return plain | ({OPTIMIZER: _unversioned(plain[OPTIMIZER])} if OPTIMIZER in plain else {})


def _unversioned(optimizer: str | None) -> str | None:
    """A stored optimiser without the digest of a user's function."""
    return None if optimizer is None else name_and_digest(optimizer)[0]


def _is_version(name: str) -> bool:
    return name.rpartition(".")[2] in VERSIONS and ".options." not in name


def _numbers(seeds: Sequence[int]) -> str:
    return ",".join(map(str, seeds))
