"""The catalogue of mixers as `recollect mixers` shows it: measured, not declared."""

from __future__ import annotations

import inspect
import sys
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from recollect.cli.output import console, options_text, print_table
from recollect.mixers.catalogue import MixerEntry, mixer_options
from recollect.referee.check import measure
from recollect.referee.report import cost_rows

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from recollect.referee.report import Measured

TOKENS = 512
"""After so many the list shows the state."""


@dataclass(frozen=True)
class Description:
    """A mixer of the catalogue.

    Attributes:
        name: what users type.
        entry: where it comes from.
        d_model: the width at which it was measured.
        measured: what its layers cost.
    """

    name: str
    entry: MixerEntry
    d_model: int
    measured: tuple[Measured, ...]

    @property
    def facts(self) -> dict[str, str | int]:
        """What is known of it without building it."""
        entry = self.entry
        return {
            "name": self.name,
            "title": entry.title,
            "family": entry.family,
            "arxiv": entry.paper,
            "year": entry.year,
        }

    @property
    def has_step(self) -> bool:
        """Whether it has a step form."""
        return all(each.state is not None for each in self.measured)

    @property
    def options(self) -> dict[str, dict[str, Any]]:
        """The options of its constructor, and their defaults."""
        options = mixer_options(self.entry.cls).items()
        return {name: {} if p.default is p.empty else {"default": p.default} for name, p in options}

    @property
    def equations(self) -> str:
        """In plain text, with what they mean: what the mixer's file begins with."""
        return (sys.modules[self.entry.cls.__module__].__doc__ or "").strip()

    @property
    def description(self) -> str:
        """What it is and what its options are, in words."""
        return inspect.getdoc(self.entry.cls) or ""

    def to_json(self) -> dict[str, Any]:
        """All of it as plain values."""
        return {
            **self.facts,
            "step": self.has_step,
            "d_model": self.d_model,
            "measured": [asdict(each) for each in self.measured],
            "options": self.options,
            "equations": self.equations,
            "description": self.description,
        }


def describe(name: str, entry: MixerEntry, d_model: int) -> Description:
    """Look a mixer up and measure it.

    Raises:
        UserError: if it cannot have this width.
    """
    return Description(name, entry, d_model, measure(name, d_model=d_model))


def print_list(mixers: Sequence[Description]) -> None:
    """A row for each."""
    columns = [*mixers[0].facts, "parameters", f"state after {TOKENS} tokens", "step"]
    print_table(
        columns,
        [
            [
                *map(str, each.facts.values()),
                _of_layers(each, lambda layer: f"{layer.parameters:,}"),
                _of_layers(each, _state),
                "yes" if each.has_step else "no",
            ]
            for each in mixers
        ],
    )
    note = f"at d_model {mixers[0].d_model}, in float32; a / b: where layers differ, the first two"
    console().print(note, style="dim")


def print_one(mixer: Description) -> None:
    """All of it, with its equations."""
    rows = [*mixer.facts.items(), ("step form", "yes" if mixer.has_step else "no")]
    rows += [("at d_model", mixer.d_model), *cost_rows(mixer.measured)]
    rows += [("options", options_text(mixer.options))]
    width = max(len(str(name)) for name, _ in rows)
    out = console()
    for name, value in rows:
        out.print(f"{name:{width}}  {value}", markup=False)
    for text in (mixer.equations, mixer.description):
        out.print(f"\n{text}", markup=False)


def _of_layers(mixer: Description, text: Callable[[Measured], str]) -> str:
    """Once, where all layers are alike."""
    return " / ".join(dict.fromkeys(text(layer) for layer in mixer.measured))


def _state(layer: Measured) -> str:
    state = layer.state
    if state is None:
        return ""
    return f"{state.numbers[TOKENS]:,} numbers, {state.bytes[TOKENS]:,} bytes, {state.law}"
