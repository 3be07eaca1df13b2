"""`recollect probe`: how much a language model recalls of a prompt."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from recollect.cli.option_names import as_typed
from recollect.cli.output import Json, console, numbers, print_json, print_table, progress_bars
from recollect.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pandas as pd

    from recollect.language.pretrained import Pretrained
    from recollect.language.probe import Sampling
    from recollect.language.prompts import Question
    from recollect.language.words import Words

OPTIONS = {
    "pairs": "--pairs",
    "distance": "--distance",
    "words": "--copy-lengths",
    "shots": "--shots",
}
"""By the names that messages have for them."""
FILES = {
    "mqar": "recall-by-pairs",
    "distance": "recall-by-distance",
    "copy": "recall-by-length",
}
"""Names of what is written of each table: others than those of `slice`, for the same folder."""
HOW = (
    "An answer is right if each of its tokens is the model's first choice, given the true text"
    " before it (teacher forcing). Chance is a guess among the words of the prompt that may be the"
    " answer and were none yet."
)


def probe_model(
    model: Annotated[
        str,
        typer.Argument(
            metavar="MODEL", help="A folder of ours or of transformers, or a name on the hub."
        ),
    ],
    pairs: Annotated[
        str, typer.Option(metavar="N,N,...", help="MQAR: how many pairs of a key and its value.")
    ] = "2,4,8,16",
    distances: Annotated[
        str,
        typer.Option(
            "--distance", metavar="N,N,...", help="MQAR: words between pairs and questions."
        ),
    ] = "0,64",
    copy_lengths: Annotated[
        str, typer.Option(metavar="N,N,...", help="Copying: how many words.")
    ] = "4,8,16,32",
    examples: Annotated[
        int, typer.Option(metavar="N", min=1, help="Prompts for each of these.")
    ] = 100,
    shots: Annotated[
        int, typer.Option(metavar="N", min=0, help="Solved examples at the head of a prompt.")
    ] = 2,
    seed: Annotated[int, typer.Option(metavar="N", help="Of the prompts.")] = 0,
    device: Annotated[
        str, typer.Option(metavar="auto|cpu|cuda", help="Where the model runs.")
    ] = "auto",
    show: Annotated[
        bool, typer.Option("--show", help="Print a prompt of each kind; ask nothing.")
    ] = False,
    out: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Write tables and figures to a folder.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Measure recall of a language model as it is, without training it.

    It reads pairs of words and is asked for the value of each key (MQAR), and strings of words to
    say again. An answer is right if each of its tokens is the model's first choice, given the true
    text before it (teacher forcing).
    """
    from recollect.cli.find import import_from_here
    from recollect.files import check_folder
    from recollect.language.pretrained import open_pretrained
    from recollect.language.probe import Sampling, probe
    from recollect.language.words import choose_words
    from recollect.training.device import resolve_device

    if out is not None:
        check_folder(out)
    place = resolve_device(device)
    import_from_here()
    with as_typed(OPTIONS):
        questions = _questions(pairs, distances, copy_lengths)
        sampling = Sampling(examples=examples, shots=shots, seed=seed)
        opened = open_pretrained(model)
        words = choose_words(opened.tokenizer, sampling.words_needed(questions))
        settings = _settings(opened, words, questions, sampling)
        if show:
            _show(questions, words.words, sampling, _notes(settings), as_json=as_json)
            return
        with progress_bars() as bars:
            report = partial(bars, "prompts")
            answers = probe(
                opened, words.words, questions, sampling, device=place, on_progress=report
            )
    tables = _tables(answers)
    if out is not None:
        _write(tables, out)
    if as_json:
        from recollect.reports.tables import records

        told = {name: records(table) for name, table in tables.items()}
        print_json({"settings": settings, **told})
    else:
        _print(tables, settings)


def _questions(pairs: str, distances: str, copy_lengths: str) -> list[Question]:
    """All that is asked, MQAR first."""
    from recollect.language.prompts import Copying, Recall

    far = _sizes("--distance", distances)
    recall = [
        Recall(pairs=count, distance=distance)
        for distance in far
        for count in _sizes("--pairs", pairs)
    ]
    return [*recall, *(Copying(words=count) for count in _sizes("--copy-lengths", copy_lengths))]


def _sizes(option: str, text: str) -> list[int]:
    """Each number once, ascending."""
    found = sorted(set(numbers(option, text)))
    if not found:
        raise UserError(f"{option} is empty: expected one number at least, such as 8")
    return found


def _settings(
    model: Pretrained, words: Words, questions: list[Question], sampling: Sampling
) -> dict[str, Any]:
    """What was asked how."""
    from recollect.language.lost import lost_in

    asked = (questions[0], questions[-1])  # pairs and strings
    prompts = [next(sampling.prompts(question, words.words)).text for question in asked]
    return {
        "model": model.name,
        "words": len(words.words),
        "tokens_a_word": words.tokens,
        "begins_with": model.begins_with,
        "leaves_out": model.leaves_out,
        "lost": lost_in(model.tokenizer, "".join(prompts)),
        **sampling.model_dump(),
    }


def _notes(settings: dict[str, Any]) -> list[str]:
    """What is not as usual in how a model was asked, a line each."""
    found = []
    if settings["tokens_a_word"] > 1:
        found.append(
            f"Words are {settings['tokens_a_word']} tokens each: too few words are a single token"
            " of this tokenizer."
        )
    if settings["lost"]:
        found.append(
            f"The tokenizer loses {' and '.join(settings['lost'])} of a prompt: the model cannot"
            " read it as it is written."
        )
    if settings["leaves_out"]:
        found.append(
            f"{settings['leaves_out']}, which the tokenizer puts at the end of a text, is left out."
        )
    return found


def _show(
    questions: list[Question],
    words: Sequence[str],
    sampling: Sampling,
    notes: list[str],
    *,
    as_json: bool,
) -> None:
    """The first prompt of each task, with the words that are asked for in bold."""
    from rich.text import Text

    first = {question.task: question for question in reversed(questions)}
    prompts = {task: next(sampling.prompts(first[task], words)) for task in ("mqar", "copy")}
    if as_json:
        print_json({task: prompt.text for task, prompt in prompts.items()})
        return
    for task, prompt in prompts.items():
        text = Text(prompt.text)
        for answer in prompt.answers:
            text.stylize("bold", *answer.asked)
        console().print(Text(f"# {task}, {first[task].label}", "dim"), text, sep="\n", end="")
    for note in notes:
        console().print(note, style="dim", markup=False)


def _tables(answers: pd.DataFrame) -> dict[str, pd.DataFrame]:
    from recollect.language.probe_frames import copy_frame, distance_frame, mqar_frame

    return {
        "mqar": mqar_frame(answers),
        "distance": distance_frame(answers),
        "copy": copy_frame(answers),
    }


def _print(tables: dict[str, pd.DataFrame], settings: dict[str, Any]) -> None:
    from recollect.reports import probe_tables

    out = console()
    for line in (HOW, *_notes(settings)):
        out.print(line, style="dim", markup=False)
    for table in (
        probe_tables.readable_mqar(tables["mqar"]),
        probe_tables.readable_distance(tables["distance"]),
        probe_tables.readable_copy(tables["copy"]),
    ):
        out.print()
        print_table(*table)
    said = {name: "none" if value in ("", []) else value for name, value in settings.items()}
    alike = ", ".join(f"{name}={value}" for name, value in said.items())
    out.print(f"\n{alike}", style="dim", markup=False)


def _write(tables: dict[str, pd.DataFrame], folder: Path) -> None:
    from recollect.cli.report import written
    from recollect.reports import probe_figures
    from recollect.reports.style import save
    from recollect.reports.tables import write_csv

    paths = [folder / f"{FILES[name]}.csv" for name in tables]
    for path, table in zip(paths, tables.values(), strict=True):
        write_csv(table, path)
    figures = {
        "mqar": probe_figures.mqar_figure(tables["mqar"]),
        "distance": probe_figures.distance_figure(tables["distance"]),
        "copy": probe_figures.copy_figure(tables["copy"]),
    }
    for name, figure in figures.items():
        for form in ("pdf", "png"):
            paths.append(folder / f"{FILES[name]}.{form}")
            save(figure, paths[-1])
    written(*paths)
