"""Measure the catalogue for `recollect mixers` and `recollect tasks`.

    python -m recollect.cli.measured

writes the file that these commands read by default, because measuring all mixers takes half a
minute and importing PyTorch some seconds.
"""

from __future__ import annotations

import inspect
import json
import sys
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from recollect.cli.catalogue_file import D_MODEL, FILE
from recollect.mixers.catalogue import MIXERS
from recollect.mixers.constructor import mixer_options
from recollect.mixers.patterns import PATTERNS
from recollect.referee.check import measure
from recollect.referee.report import cost_rows
from recollect.tasks.task import TASKS, Task
from recollect.text_output import write_text

if TYPE_CHECKING:
    from recollect.referee.report import Measured


@dataclass(frozen=True)
class Description:
    """A mixer of the catalogue, or a layer pattern.

    Attributes:
        facts: name, title, family, arXiv id and year.
        layers: for a layer pattern, the mixers of one period.
        options: the options of the constructor, with their defaults.
        equations: the docstring of the mixer's file: its equations with an explanation.
        description: the docstring of the class, with its options.
        d_model: the width at which it was measured.
        measured: the costs of its layers; those of a pattern are summed.
    """

    facts: dict[str, str | int]
    layers: tuple[str, ...]
    options: dict[str, dict[str, Any]]
    equations: str
    description: str
    d_model: int
    measured: tuple[Measured, ...]

    @property
    def has_step(self) -> bool:
        """True if it has a step form."""
        return all(each.state is not None for each in self.measured)

    def to_json(self) -> dict[str, Any]:
        """The description as plain values."""
        return {
            **self.facts,
            "step": self.has_step,
            "d_model": self.d_model,
            "measured": [asdict(each) for each in self.measured],
            "costs": [list(row) for row in cost_rows(self.measured)],
            "layers": list(self.layers),
            "options": self.options,
            "equations": self.equations,
            "description": self.description,
        }


def describe(name: str, d_model: int) -> Description:
    """Measure a mixer or a layer pattern of the catalogue.

    Raises:
        UserError: if it does not support this width.
    """
    if name in PATTERNS:
        return _describe_pattern(name, d_model)
    entry = MIXERS[name]
    options = mixer_options(entry.cls).items()
    return Description(
        facts=_facts(name, entry.title, entry.family, entry.paper, entry.year),
        layers=(),
        options={o: {} if p.default is p.empty else {"default": p.default} for o, p in options},
        equations=(sys.modules[entry.cls.__module__].__doc__ or "").strip(),
        description=inspect.getdoc(entry.cls) or "",
        d_model=d_model,
        measured=measure(name, d_model=d_model),
    )


def _describe_pattern(name: str, d_model: int) -> Description:
    entry = PATTERNS[name]
    return Description(
        facts=_facts(name, entry.title, "layer pattern", entry.paper, entry.year),
        layers=tuple(spec.label for spec in entry.layers),
        options={},
        equations="",
        description=entry.description,
        d_model=d_model,
        measured=measure(name, d_model=d_model),
    )


def _facts(name: str, title: str, family: str, arxiv: str, year: int) -> dict[str, str | int]:
    return {"name": name, "title": title, "family": family, "arxiv": arxiv, "year": year}


def describe_task(cls: type[Task]) -> dict[str, Any]:
    """Describe a task as plain values."""
    doc = inspect.getdoc(cls) or ""
    return {
        "name": cls.name,
        "what": doc.partition("\n")[0].rstrip("."),
        "options": {
            name: {} if field.is_required() else {"default": field.default}
            for name, field in cls.model_fields.items()
        },
        "description": doc,
    }


def write() -> None:
    """Measure all entries and write the file."""
    mixers = [describe(name, D_MODEL).to_json() for name in (*MIXERS, *PATTERNS)]
    tasks = [describe_task(TASKS[name]) for name in TASKS]
    text = json.dumps({"mixers": mixers, "tasks": tasks}, indent=1, ensure_ascii=False)
    write_text(FILE, text + "\n")


if __name__ == "__main__":
    write()
