"""The referee's report: verdicts with evidence, and measurements, as text and JSON."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from recollect.plain import finite
from recollect.referee.cost import COST_LENGTH, SPEED_BATCH, MultiplyAdds, Speed
from recollect.referee.state import State
from recollect.referee.verdict import Verdict

if TYPE_CHECKING:
    from rich.console import RenderableType

WIDTH = 120
"""Characters per line of a report as a string."""
COLOURS = {
    "pass": "green",
    "fail": "bold red",
    "not measured": "magenta",
    "not offered": "yellow",
}


@dataclass(frozen=True)
class Measured:
    """The measured cost of one layer of a mixer; None: not measured.

    Attributes:
        layer: index of the layer, from 0.
        parameters: number of trained elements; a complex one counts as two.
        frozen: number of elements in parameters that are not trained.
        state: recurrent state; None also if there is no step form.
        multiply_adds: multiply-adds per token.
        speed: time relative to attention; None also if it was not requested.
        problems: reasons why something could not be measured.
    """

    layer: int
    parameters: int | None
    frozen: int | None
    state: State | None
    multiply_adds: MultiplyAdds | None
    speed: Speed | None
    problems: tuple[str, ...]


@dataclass(frozen=True, repr=False)
class Report:
    """The referee's report on a mixer.

    Attributes:
        mixer: name of the mixer with its options, or of a layer pattern.
        layers: labels of the layers in one period of a layer pattern; one label for a single mixer.
        window: size of the window of its sliding-window attention; None if it has none or several.
        d_model: the width in the checks.
        max_len: the longest length in the checks, in tokens.
        precision: type and tolerance of comparisons, in words.
        noise: noise on trained parameters, in words; empty if the mixer does not run.
        initialisation: the mixer's initialisation in a study, in words.
        contexts: further contexts in which it was judged, in words.
        verdicts: verdict of each check, by the name of the check.
        measured: cost of layer 0, and of layer 1 if the mixer takes `layer_idx`.
        remarks: facts that are not failures but may surprise a user.
    """

    mixer: str
    layers: tuple[str, ...]
    window: int | None
    d_model: int
    max_len: int
    precision: str
    noise: str
    initialisation: str
    contexts: tuple[str, ...]
    verdicts: Mapping[str, Verdict]
    measured: tuple[Measured, ...]
    remarks: tuple[str, ...] = ()

    @property
    def ok(self) -> bool:
        """Whether no check failed; a check that could not be made does not count as failed."""
        return all(verdict.status != "fail" for verdict in self.verdicts.values())

    def to_json(self) -> dict[str, Any]:
        """Return the whole report as plain values; numbers that are not finite become None."""
        return {"ok": self.ok, **finite(asdict(self))}

    def table(self) -> RenderableType:
        """Return the report as a table for a terminal or a notebook."""
        from rich.box import SIMPLE_HEAD
        from rich.console import Group
        from rich.table import Table
        from rich.text import Text

        checks = Table("check", "verdict", "evidence", box=SIMPLE_HEAD, pad_edge=False)
        for name, verdict in self.verdicts.items():
            status = Text(verdict.status, COLOURS[verdict.status])
            checks.add_row(name, status, Text(verdict.evidence))
        costs = Table("measured", "", box=SIMPLE_HEAD, pad_edge=False)
        for name, value in cost_rows(self.measured):
            costs.add_row(name, Text(value))
        remarks = [Text(f"note: {remark}") for remark in self.remarks]
        return Group(Text(self._title()), checks, costs, *remarks, Text(self._summary()))

    def __str__(self) -> str:
        from rich.console import Console

        console = Console(file=io.StringIO(), width=WIDTH)
        console.print(self.table())
        return console.file.getvalue()  # type: ignore[attr-defined]

    __repr__ = __str__

    def _title(self) -> str:
        also = "".join(f"; also {context}" for context in self.contexts)
        window = "" if self.window is None else f", window {self.window}"
        layers = f"{len(self.layers)} layers: {', '.join(self.layers)}\n"
        noise = f"with {self.noise}\n" if self.noise else ""
        return (
            f"{self.mixer}, d_model {self.d_model}{window}, up to {self.max_len} positions{also}\n"
            f"{layers if len(self.layers) > 1 else ''}"
            f"judged in {self.precision}\n{noise}"
            f"initialisation in a study: {self.initialisation}\n"
            "positions, rows and layers are counted from 0"
        )

    def _summary(self) -> str:
        open_checks = self._named("not measured")
        not_measured = f"; not measured: {', '.join(open_checks)}" if open_checks else ""
        failed = self._named("fail")
        return (f"failed: {', '.join(failed)}" if failed else "no check failed") + not_measured

    def _named(self, status: str) -> list[str]:
        return [name for name, verdict in self.verdicts.items() if verdict.status == status]


def cost_rows(measured: Sequence[Measured]) -> Iterator[tuple[str, str]]:
    """Yield names and texts of the measured costs; one line if all layers have the same."""
    lines: list[tuple[str, Callable[[Measured], str | None]]] = [
        ("parameters", parameters_text),
        ("state", lambda m: state_text(m.state) if m.state else None),
        (
            "multiply-adds",
            lambda m: multiply_adds_text(m.multiply_adds) if m.multiply_adds else None,
        ),
        ("speed", lambda m: speed_text(m.speed) if m.speed else None),
        ("not measured", lambda m: "; ".join(m.problems) or None),
    ]
    for name, text in lines:
        texts = {each.layer: text(each) for each in measured}
        alike = len(set(texts.values())) == 1
        for layer, value in list(texts.items())[: 1 if alike else None]:
            if value:
                yield name if alike else f"{name}, layer {layer}", value


def parameters_text(measured: Measured) -> str | None:
    """Return the number of parameters as text, like `816 (and 64 frozen)`."""
    if measured.parameters is None:
        return None
    frozen = f" (and {measured.frozen:,} frozen)" if measured.frozen else ""
    return f"{measured.parameters:,}{frozen}"


def state_text(state: State) -> str:
    """Return the state as text, like `linear (512 tokens read): 64 bytes (16 numbers) ...`."""
    sizes = {n: _size_text(state, n) for n in state.bytes}
    what = "plain numbers that count" if state.counters > 1 else "plain number that counts"
    counters = f"; also {state.counters} {what} positions"
    beside = counters if state.counters else ""
    law = f"{state.law} ({max(state.bytes)} tokens read)"
    if len(set(sizes.values())) == 1:
        return f"{law}: {sizes[1]}{beside}"
    moments = (f"{size} after {n} token{'s'[: n > 1]}" for n, size in sizes.items())
    return f"{law}: {', '.join(moments)}{beside}"


def _size_text(state: State, n: int) -> str:
    count, used = state.numbers[n], state.used[n]
    numbers = f"{count:,} number{'s'[: count != 1]}"
    views = f", of which {used:,} bytes are used: its tensors are views of larger ones"
    return f"{state.bytes[n]:,} bytes ({numbers}{views if used < state.bytes[n] else ''})"


def multiply_adds_text(count: MultiplyAdds) -> str:
    """Return the multiply-adds and their parts as text, like `49,216 per token ...`."""
    others = f"; not counted: {', '.join(count.uncounted)}" if count.uncounted else ""
    if not count.total:
        return f"no matrix products or declared ops; elementwise products are not counted{others}"
    if count.declared:
        parts = f"{count.products:,.0f} in matrix products, {count.declared:,.0f} declared by ops"
    else:
        parts = "matrix products only; attention counts all pairs"
    return f"{count.total:,.0f} per token over {COST_LENGTH} positions ({parts}{others})"


def speed_text(speed: Speed) -> str:
    """Return the times relative to attention as text."""
    decoding = "" if speed.decoding is None else f", decoding {speed.decoding:.2f} times"
    size = f"{SPEED_BATCH} rows of {COST_LENGTH} positions"
    return f"training takes {speed.training:.2f} times as long as attention{decoding} ({size})"
