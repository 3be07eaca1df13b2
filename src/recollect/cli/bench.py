"""`recollect bench`: speed and memory on this machine."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from recollect.cli.output import Json, console, listed, numbers, print_json, print_table

if TYPE_CHECKING:
    from recollect.bench.measurement import LeftOut, Measurement
    from recollect.bench.suite import BenchReport

WIDTH = 64
NOTHING = "-"


def bench(
    benchmarks: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[data|step|study|mixers|startup]...", help="Benchmarks to run; default: all."
        ),
    ] = None,
    mixers: Annotated[
        str | None,
        typer.Option(
            metavar="A,B",
            help="Mixers for the benchmarks step and mixers, such as mamba,attention(qkv_conv=3);"
            " default: the whole catalogue.",
        ),
    ] = None,
    widths: Annotated[
        str | None, typer.Option(metavar="N,M", help="Widths (d_model) for step and mixers.")
    ] = None,
    lengths: Annotated[
        str | None,
        typer.Option(
            metavar="N,M", help="Sequence lengths; default: 64 for step, 64,512,4096 for mixers."
        ),
    ] = None,
    batch: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            help="Batch size; default: 100000 for data, 64 for step, 4 for mixers.",
        ),
    ] = None,
    threads: Annotated[
        int, typer.Option(metavar="N", help="Threads of each measured process.")
    ] = 1,
    device: Annotated[
        str, typer.Option(metavar="auto|cpu|cuda", help="Where to measure models.")
    ] = "auto",
    repeats: Annotated[int, typer.Option(metavar="N", help="Repetitions of each measurement.")] = 5,
    out: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write the JSON document to a file.")
    ] = None,
    markdown: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write the tables as Markdown.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Measure speed and memory on this machine.

    Numbers are medians, with the lowest and highest in brackets. A mixer is not measured at lengths
    where that would take more than a minute.
    """
    from rich.text import Text

    from recollect.bench.settings import BenchSettings
    from recollect.bench.suite import run_suite
    from recollect.cli.find import parse_mixer
    from recollect.cli.report import written
    from recollect.files import check_folder
    from recollect.mixers.catalogue import MIXERS
    from recollect.studies.grid import models_grid
    from recollect.text_output import write_text

    settings = BenchSettings(
        models=models_grid(
            [parse_mixer(text) for text in listed("--mixers", mixers)] or list(MIXERS),
            d_model=numbers("--widths", widths) or [WIDTH],
        ),
        lengths=None if lengths is None else tuple(numbers("--lengths", lengths)),
        batch=batch,
        threads=threads,
        device=device,
        repeats=repeats,
    )
    for path in filter(None, (out, markdown)):
        check_folder(path.parent)
    with console(stderr=True).status("measuring", spinner="line") as status:
        report = run_suite(benchmarks or [], settings, lambda what: status.update(Text(what)))
    if out is not None:
        write_text(out, json.dumps(report.to_json(), indent=2, allow_nan=False) + "\n")
    if markdown is not None:
        write_text(markdown, _in_markdown(report))
    if as_json:
        print_json(report.to_json())
    else:
        _print(report)
    written(out, markdown)


def _print(report: BenchReport) -> None:
    """Print the machine, a table for each benchmark, and the omitted measurements."""
    out = console()
    out.print("\n".join(_machine(report)), markup=False)
    for name, table in _tables(report).items():
        out.print(f"\n{name}", style="bold")
        print_table(*table)
    for gap in report.left_out:
        out.print(f"not measured: {_reason(gap)}", markup=False)


def _in_markdown(report: BenchReport) -> str:
    """The same as Markdown."""
    from recollect.reports.markup import in_markdown

    parts = [" ".join(_machine(report)) + "\n"]
    parts += [f"**{name}**\n\n{in_markdown(*table)}" for name, table in _tables(report).items()]
    parts += [f"not measured: {_reason(gap)}\n" for gap in report.left_out]
    return "\n".join(parts)


def _machine(report: BenchReport) -> list[str]:
    """The machine and the settings of the measurement."""
    machine = report.machine
    return [
        f"{machine.processor}, {machine.cores} cores, {machine.memory_bytes / 2**30:.0f} GiB;"
        f" {machine.system}, Python {machine.python}, torch {machine.torch},"
        f" recollect {machine.recollect}.",
        f"Device {machine.device}, {machine.threads} thread(s); median (low–high) of"
        f" {machine.repeats}; peak: {machine.matmul_peak / 1e9:,.0f} GFLOP/s in float32 matrix"
        " products.",
    ]


def _tables(report: BenchReport) -> dict[str, tuple[list[str], list[list[str]]]]:
    """A table for each benchmark that was run."""
    found = report.measurements
    names = dict.fromkeys(each.benchmark for each in found)
    return {name: _table([each for each in found if each.benchmark == name]) for name in names}


def _table(measurements: list[Measurement]) -> tuple[list[str], list[list[str]]]:
    """One row per subject and setting, one column per quantity."""
    rows: dict[tuple[Any, ...], dict[str, str]] = {}
    for each in measurements:
        place = each.subject, *(f"{value:,}" for value in each.setting.values())
        rows.setdefault(place, {})[f"{each.quantity} ({each.unit})"] = _spread(each)
    quantities = list(dict.fromkeys(quantity for row in rows.values() for quantity in row))
    columns = [measurements[0].benchmark, *measurements[0].setting, *quantities]
    return columns, [
        [*place, *(row.get(quantity, NOTHING) for quantity in quantities)]
        for place, row in rows.items()
    ]


def _spread(each: Measurement) -> str:
    middle, low, high = (_number(value) for value in (each.median, each.low, each.high))
    return middle if low == high else f"{middle} ({low}–{high})"


def _number(value: float) -> str:
    """Three significant digits, or all digits before the point."""
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def _reason(gap: LeftOut) -> str:
    setting = ", ".join(f"{name} {value:,}" for name, value in gap.setting.items())
    what = f"{gap.quantity} of {gap.subject}" if gap.quantity else gap.subject
    return f"{gap.benchmark}, {what} at {setting}: {gap.reason}"
