"""Versions of a mixer in one study: cells run before and after an edit get different labels."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from recollect.errors import UserError
from recollect.identity import present_digest
from recollect.own_functions import source_of
from recollect.studies.cell import Cell


def tell_versions_apart(cells: Sequence[Cell]) -> tuple[Cell, ...]:
    """Add versions to the mixers' names if the cells have several versions of a mixer or the
    trainer, `Mine [source 3f2a91]`, and modules if classes of several have one name,
    `Mine [my_module]`."""
    seen: dict[str, set[str]] = {}
    for cell in cells:
        for name, version in _versions(cell):
            seen.setdefault(name, set()).add(version)
    return tuple(
        cell.replace(mixer=f"{cell.mixer} [{', '.join(marks)}]") if marks else cell
        for cell in cells
        for marks in [dict.fromkeys(v for name, v in _versions(cell) if len(seen[name]) > 1)]
    )


def out_of_date(cells: Sequence[Cell], folders: Sequence[Path]) -> list[str]:
    """Messages on cells whose mixer, task, optimiser or metric was edited after they were run.

    No user code is run. Classes that are not found are left out.

    Args:
        cells: cells of a study.
        folders: folders to search for modules before the import path.
    """
    messages = [
        f"{cell.label} is out of date: {change}"
        for cell in tell_versions_apart(cells)
        for name, source in _sources(cell).items()
        if (change := _change(name, source, folders))
    ]
    return list(dict.fromkeys(messages))  # several of a cell's classes may be in one file


def _sources(cell: Cell) -> dict[str, str]:
    """Source digests of a user's mixers, tasks, optimiser and metrics, by name."""
    own = {each["mixer"]: each["source"] for each in cell.template["model"]["mixer"]}
    for task in (cell.template["task"], *cell.template["test_tasks"]):
        parts = (task, *task.get("tasks", ()))  # those of a mixture
        own |= {each["class"]: each["source"] for each in parts if "class" in each}
    found = {name: source for name, source in own.items() if source}
    train = cell.template["train"]
    functions = map(source_of, [train.get("optimizer", ""), *train.get("metrics", ())])
    return found | dict(filter(None, functions))


def _change(name: str, source: str, folders: Sequence[Path]) -> str | None:
    """Text of the change of a class's source; None if it is unchanged or not found."""
    try:
        present = present_digest(name, [str(folder) for folder in folders])
    except UserError as error:
        return f"the source of {name} cannot be read: {error}"
    if present is None or present[1] == source:
        return None
    return f"{present[0]}, or a module that it imports, was edited after the run"


def _versions(cell: Cell) -> Iterator[tuple[str, str]]:
    """Names and versions of the trainer, a user's optimiser and each mixer of a cell, and the
    modules of a user's mixers."""
    yield "", f"trainer {cell.numerics}"
    optimizer = source_of(cell.template["train"].get("optimizer", ""))
    if optimizer is not None:
        yield optimizer[0], f"optimizer {optimizer[1][:6]}"
    for layer in cell.template["model"]["mixer"]:
        if layer["source"] is None:
            yield layer["mixer"], f"version {layer['numerics']}"
            continue
        module, _, name = layer["mixer"].rpartition(":")
        yield f":{name}", module
        further = ".".join(str(layer[key]) for key in ("numerics", "foreign") if key in layer)
        yield layer["mixer"], f"source {layer['source'][:6]}.{further}"
