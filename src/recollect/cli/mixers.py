"""The catalogue of mixers as `recollect mixers` shows it: measured, not declared."""

from __future__ import annotations

import inspect
import sys
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from recollect.cli.output import console, options_text, print_table
from recollect.errors import UserError, unknown
from recollect.mixers.catalogue import MIXERS
from recollect.mixers.constructor import mixer_options
from recollect.mixers.patterns import PATTERNS
from recollect.referee.check import measure
from recollect.referee.report import cost_rows

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from recollect.referee.report import Measured

TOKENS = 512
"""After so many the list shows the state."""


@dataclass(frozen=True)
class Description:
    """A mixer of the catalogue, or a layer pattern.

    Attributes:
        facts: name, title, family, arXiv id and year.
        layers: of a layer pattern, the mixers of one period.
        options: of the constructor, with their defaults.
        equations: in plain text, with what they mean: what the mixer's file begins with.
        description: what it is and what its options are, in words.
        d_model: the width at which it was measured.
        measured: what its layers cost, those of a pattern together.
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
        """Whether it has a step form."""
        return all(each.state is not None for each in self.measured)

    def to_json(self) -> dict[str, Any]:
        """All of it as plain values."""
        return {
            **self.facts,
            "step": self.has_step,
            "d_model": self.d_model,
            "measured": [asdict(each) for each in self.measured],
            "layers": list(self.layers),
            "options": self.options,
            "equations": self.equations,
            "description": self.description,
        }


def describe(name: str, d_model: int) -> Description:
    """Look a mixer or a layer pattern up, and measure it.

    Raises:
        UserError: if there is none of this name, or it cannot have this width.
    """
    if name in PATTERNS:
        return _describe_pattern(name, d_model)
    if ":" in name:
        raise UserError(
            f"{name} is not in the catalogue, which is what `recollect mixers` shows: `recollect"
            f" check {name}` measures a class of your own"
        )
    if name not in MIXERS:
        raise unknown("mixer or layer pattern", name, [*MIXERS, *PATTERNS])
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


def print_list(mixers: Sequence[Description]) -> None:
    """A row for each."""
    columns = [*mixers[0].facts, "parameters", f"state after {TOKENS} tokens", "step"]
    rows = [
        [
            *map(str, each.facts.values()),
            _of_layers(each, lambda layer: f"{layer.parameters:,}"),
            _of_layers(each, _state),
            "yes" if each.has_step else "no",
        ]
        for each in mixers
    ]
    print_table(columns, rows)
    console().print(
        f"at d_model {mixers[0].d_model}, in float32; a / b: where layers differ, the first two;"
        " a layer pattern: all its layers",
        style="dim",
    )


def print_one(mixer: Description) -> None:
    """All of it, with its equations."""
    rows = [*mixer.facts.items(), ("step form", "yes" if mixer.has_step else "no")]
    rows += [("at d_model", mixer.d_model), *cost_rows(mixer.measured)]
    if mixer.layers:
        rows += [("layers", ", ".join(mixer.layers))]
    else:
        rows += [("options", options_text(mixer.options))]
    width = max(len(name) for name, _ in rows)
    out = console()
    for name, value in rows:
        out.print(f"{name:{width}}  {value}", markup=False)
    for text in filter(None, (mixer.equations, mixer.description)):
        out.print(f"\n{text}", markup=False)


def _facts(name: str, title: str, family: str, arxiv: str, year: int) -> dict[str, str | int]:
    return {"name": name, "title": title, "family": family, "arxiv": arxiv, "year": year}


def _of_layers(mixer: Description, text: Callable[[Measured], str]) -> str:
    """Once, where all layers are alike."""
    return " / ".join(dict.fromkeys(text(layer) for layer in mixer.measured))


def _state(layer: Measured) -> str:
    state = layer.state
    if state is None:
        return ""
    return f"{state.numbers[TOKENS]:,} numbers, {state.bytes[TOKENS]:,} bytes, {state.law}"
