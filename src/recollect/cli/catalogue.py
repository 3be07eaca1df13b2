"""`recollect tasks` and `recollect mixers`: the catalogue and the options of its entries."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, Any

import typer

from recollect.cli.catalogue_file import D_MODEL, mixer_entries, task_entries
from recollect.cli.output import Json, console, options_text, print_json, print_table
from recollect.errors import UserError

if TYPE_CHECKING:
    from recollect.tasks.task import Task

FACTS = ("name", "title", "family", "arxiv", "year")
"""The facts shown of a mixer beside its measurements."""
TOKENS = 512
"""The list shows the size of the recurrent state after this many tokens."""


def tasks(
    name: Annotated[str | None, typer.Argument(help="A task; default: list all.")] = None,
    sample: Annotated[
        bool, typer.Option("--sample", help="Print one example of the task.")
    ] = False,
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Set an option of the example's task."),
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the example.")] = 0,
    as_json: Json = False,
) -> None:
    """List the tasks, describe one, or print an example of it."""
    entries = task_entries(name)
    if sample:
        from recollect.tasks.task import TASKS

        if name is None:
            known = ", ".join(entry["name"] for entry in entries)
            raise UserError(f"--sample needs a task: one of {known}")
        _print_example(TASKS[name], settings or [], seed, as_json)
        return
    if settings:
        raise UserError("--set changes the example's task: add --sample")
    _print(entries, name, as_json)


def mixers(
    name: Annotated[
        str | None, typer.Argument(help="A mixer or layer pattern; default: list all.")
    ] = None,
    d_model: Annotated[
        int, typer.Option(metavar="N", min=1, help="The width at which mixers are measured.")
    ] = D_MODEL,
    as_json: Json = False,
) -> None:
    """List mixers and layer patterns with their measured state, or show one with its equations."""
    if name is not None and ":" in name:
        raise UserError(
            f"`recollect mixers` shows only the catalogue: use `recollect check {name}` for a class"
            " of your own"
        )
    chosen = mixer_entries(name)
    if d_model != D_MODEL:
        with console(stderr=True).status("measuring", spinner="line"):
            from recollect.cli.measured import describe

            chosen = [describe(each["name"], d_model).to_json() for each in chosen]
    if as_json:
        print_json(chosen[0] if name else chosen)
    elif name:
        _print_mixer(chosen[0])
    else:
        _print_mixers(chosen)


def _print_mixers(entries: list[dict[str, Any]]) -> None:
    """Print one row per entry."""
    columns = [*FACTS, "parameters", f"state after {TOKENS} tokens", "step"]
    rows = [
        [
            *(str(entry[fact]) for fact in FACTS),
            _of_layers(entry, lambda layer: f"{layer['parameters']:,}"),
            _of_layers(entry, _state),
            "yes" if entry["step"] else "no",
        ]
        for entry in entries
    ]
    print_table(columns, rows)
    console().print(
        f"at d_model {entries[0]['d_model']}, in float32; a / b: the first two layers, where layers"
        " differ; of a layer pattern, all its layers",
        style="dim",
    )


def _print_mixer(entry: dict[str, Any]) -> None:
    """Print all facts of a mixer, with its equations."""
    rows = [*((fact, entry[fact]) for fact in FACTS)]
    rows += [("step form", "yes" if entry["step"] else "no"), ("at d_model", entry["d_model"])]
    rows += entry["costs"]
    if entry["layers"]:
        rows += [("layers", ", ".join(entry["layers"]))]
    else:
        rows += [("options", options_text(entry["options"]))]
    width = max(len(name) for name, _ in rows)
    out = console()
    for name, value in rows:
        out.print(f"{name:{width}}  {value}", markup=False)
    for text in filter(None, (entry["equations"], entry["description"])):
        out.print(f"\n{text}", markup=False)


def _of_layers(entry: dict[str, Any], text: Callable[[dict[str, Any]], str]) -> str:
    """The values of all layers, each different value once."""
    return " / ".join(dict.fromkeys(text(layer) for layer in entry["measured"]))


def _state(layer: dict[str, Any]) -> str:
    state = layer["state"]
    if state is None:
        return ""
    numbers, size = (state[of][str(TOKENS)] for of in ("numbers", "bytes"))
    return f"{numbers:,} numbers, {size:,} bytes, {state['law']}"


def _print(entries: list[dict[str, Any]], name: str | None, as_json: bool) -> None:
    """Print a list of all entries, or the details of the one called `name`."""
    if as_json:
        print_json(entries[0] if name else entries)
        return
    out = console()
    if name is None:
        columns = [key for key in entries[0] if key != "description"]
        rows = [
            [options_text(e[key]) if key == "options" else str(e[key]) for key in columns]
            for e in entries
        ]
        print_table(columns, rows)
        return
    for key, value in entries[0].items():
        if key not in ("options", "description"):
            out.print(f"{key:8} {value}", markup=False)
    out.print(f"options  {options_text(entries[0]['options'])}", markup=False)
    out.print(f"\n{entries[0]['description']}", markup=False)


def _print_example(cls: type[Task], settings: list[str], seed: int, as_json: bool) -> None:
    """Print one example; options without a default take the example value of their field."""
    from recollect.cli.example import example_dict, example_text
    from recollect.studies.narrow import parse_setting

    examples = {
        name: field.examples[0] for name, field in cls.model_fields.items() if field.examples
    }
    whole = cls(**(examples | dict(parse_setting(text) for text in settings)))
    task = whole.component(seed)  # the task of a mixture that this seed draws from
    batch = task.sample(1, seed)
    if as_json:
        config = task.model_dump(mode="json")
        print_json({"task": task.label, "config": config, **example_dict(task, batch)})
        return
    out = console()
    questions = batch.targets.shape[1]
    out.print(
        f"{task.label}: {batch.inputs.shape[1]} tokens, {questions} questions, seed {seed}\n",
        markup=False,
    )
    out.print(example_text(task, batch, out.width))
