"""`recollect probe`: recall of a language model from its prompt."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from recollect.cli.option_names import as_typed
from recollect.cli.output import Json, print_json, progress_bars

OPTIONS = {
    "pairs": "--pairs",
    "distance": "--distance",
    "words": "--copy-lengths",
    "length": "--repeat-lengths",
    "entries": "--entries",
    "kind": "--tasks",
    "filler": "--filler",
    "shots": "--shots",
}
"""Options by the names that error messages use."""


def probe_model(
    model: Annotated[
        str,
        typer.Argument(
            metavar="MODEL",
            help="A model folder of Recollect or transformers, or a name on the hub.",
        ),
    ],
    tasks: Annotated[
        str,
        typer.Option(
            metavar="NAME,NAME,...",
            help="Tasks: mqar, copy, repetition, phonebook, s-niah-1 to 3, mk-niah-1 to 3, or all.",
        ),
    ] = "mqar,copy",
    pairs: Annotated[
        str, typer.Option(metavar="N,N,...", help="MQAR: numbers of key-value pairs.")
    ] = "2,4,8,16",
    distances: Annotated[
        str,
        typer.Option(
            "--distance", metavar="N,N,...", help="MQAR: words between pairs and questions."
        ),
    ] = "0,64",
    copy_lengths: Annotated[
        str, typer.Option(metavar="N,N,...", help="Copying: numbers of words.")
    ] = "4,8,16,32",
    repeat_lengths: Annotated[
        str, typer.Option(metavar="N,N,...", help="Repetition: numbers of words.")
    ] = "25,50,100",
    entries: Annotated[
        str, typer.Option(metavar="N,N,...", help="Phone book: numbers of entries.")
    ] = "10,20,40",
    filler: Annotated[
        str, typer.Option(metavar="N,N,...", help="Needles: words of the text that hides them.")
    ] = "25,50,100",
    text: Annotated[
        str | None,
        typer.Option(
            metavar="TEXT",
            help="Needles: hide them in the beginning of this text, given as for `recollect slice`;"
            " default: generated text.",
        ),
    ] = None,
    examples: Annotated[
        int, typer.Option(metavar="N", min=1, help="Prompts for each task and size.")
    ] = 100,
    shots: Annotated[
        int, typer.Option(metavar="N", min=0, help="Solved examples at the start of a prompt.")
    ] = 2,
    seed: Annotated[int, typer.Option(metavar="N", help="Seed of the prompts.")] = 0,
    device: Annotated[
        str, typer.Option(metavar="auto|cpu|cuda", help="Where to run the model.")
    ] = "auto",
    show: Annotated[
        bool, typer.Option("--show", help="Only print one prompt of each task.")
    ] = False,
    out: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Write tables and figures to a folder.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Measure recall of a trained language model.

    In MQAR the model reads pairs of words and gives the value of each key; in copying it repeats a
    string of words. Further --tasks: random words that occur twice, a phone book, and the needles
    of RULER. An answer is correct if each of its tokens is the model's most likely one, given the
    true text before it (teacher forcing).
    """
    from recollect.cli import probe_output, probe_questions
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
        sampling = Sampling(examples=examples, shots=shots, seed=seed)
        opened = open_pretrained(model)
        sizes = probe_questions.Sizes(
            pairs, distances, copy_lengths, repeat_lengths, entries, filler
        )
        names = probe_questions.tasks_of(tasks, text)
        hay = probe_questions.hay_of(text, filler, opened.tokenizer)
        asked = probe_questions.questions_of(names, sizes, hay)
        questions = [question for each in asked.values() for question in each]
        words = choose_words(opened.tokenizer, sampling.words_needed(questions))
        settings = probe_output.settings_of(opened, words, asked, sampling)
        if text is not None:
            settings["text"] = text
        if show:
            notes = probe_output.notes(settings)
            probe_output.show_prompts(asked, words.words, sampling, notes, as_json=as_json)
            return
        with progress_bars() as bars:
            report = partial(bars, "prompts")
            answers = probe(
                opened, words.words, questions, sampling, device=place, on_progress=report
            )
    frames = probe_output.frames_of(answers)
    if out is not None:
        probe_output.write_frames(frames, out)
    if as_json:
        from recollect.reports.tables import records

        tables = {name: records(frame) for name, frame in frames.items()}
        print_json({"settings": settings, **tables})
    else:
        probe_output.print_frames(frames, settings)
