"""`recollect tasks` and `recollect mixers`: what there is, and what it can be told."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Annotated, Any

import typer

from recollect.cli.output import Json, console, options_text, print_json, print_table
from recollect.errors import UserError

if TYPE_CHECKING:
    from recollect.tasks.task import Task


def tasks(
    name: Annotated[str | None, typer.Argument(help="A task; all of them if left out.")] = None,
    sample: Annotated[
        bool, typer.Option("--sample", help="Print one example of the task.")
    ] = False,
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Set an option of the example's task."),
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Of the example.")] = 0,
    as_json: Json = False,
) -> None:
    """List the tasks, describe one, or print an example of it."""
    from recollect.tasks.task import TASKS

    if sample:
        if name is None:
            raise UserError(f"--sample needs a task: one of {', '.join(TASKS)}")
        _print_example(TASKS[name], settings or [], seed, as_json)
        return
    if settings:
        raise UserError("--set is for an example: give --sample too")
    _print([_describe_task(TASKS[task]) for task in ([name] if name else TASKS)], name, as_json)


def mixers(
    name: Annotated[
        str | None, typer.Argument(help="A mixer or layer pattern; all of them if left out.")
    ] = None,
    d_model: Annotated[
        int, typer.Option(metavar="N", min=1, help="The width at which mixers are measured.")
    ] = 64,
    as_json: Json = False,
) -> None:
    """List mixers and layer patterns with their measured state, or show one with its equations."""
    from recollect.cli.mixers import describe, print_list, print_one
    from recollect.mixers.catalogue import MIXERS
    from recollect.mixers.patterns import PATTERNS

    with console(stderr=True).status("measuring", spinner="line"):
        chosen = [describe(each, d_model) for each in ([name] if name else [*MIXERS, *PATTERNS])]
    if as_json:
        print_json(chosen[0].to_json() if name else [each.to_json() for each in chosen])
    elif name:
        print_one(chosen[0])
    else:
        print_list(chosen)


def _print(entries: list[dict[str, Any]], name: str | None, as_json: bool) -> None:
    """A list of all entries, or the one that is called `name` at length."""
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


def _describe_task(cls: type[Task]) -> dict[str, Any]:
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


def _print_example(cls: type[Task], settings: list[str], seed: int, as_json: bool) -> None:
    """One example; options that have no default take the task's own example of a value."""
    from recollect.cli.example import example_dict, example_text
    from recollect.studies.narrow import parse_setting

    examples = {
        name: field.examples[0] for name, field in cls.model_fields.items() if field.examples
    }
    whole = cls(**(examples | dict(parse_setting(text) for text in settings)))
    task = whole.component(seed)  # what a batch of the whole with this seed is drawn from
    batch = task.sample(1, seed)
    if as_json:
        config = task.model_dump(mode="json")
        print_json({"task": task.label, "config": config, **example_dict(task, batch)})
        return
    out = console()
    questions = batch.targets.shape[1]
    out.print(
        f"{task.label}: {batch.inputs.shape[1]} tokens, {questions} to answer, seed {seed}\n",
        markup=False,
    )
    out.print(example_text(task, batch, out.width))
