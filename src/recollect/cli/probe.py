"""`recollect probe`: how much a language model recalls of a prompt."""

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
"""By the names that messages have for them."""


def probe_model(
    model: Annotated[
        str,
        typer.Argument(
            metavar="MODEL", help="A folder of ours or of transformers, or a name on the hub."
        ),
    ],
    tasks: Annotated[
        str,
        typer.Option(
            metavar="NAME,NAME,...",
            help="What is asked: mqar, copy, repetition, phonebook, s-niah-1 to 3, mk-niah-1 to 3,"
            " or all.",
        ),
    ] = "mqar,copy",
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
    repeat_lengths: Annotated[
        str, typer.Option(metavar="N,N,...", help="Repetition: how many words.")
    ] = "25,50,100",
    entries: Annotated[
        str, typer.Option(metavar="N,N,...", help="Phone book: how many names with a number.")
    ] = "10,20,40",
    filler: Annotated[
        str, typer.Option(metavar="N,N,...", help="Needles: words of the text they are hidden in.")
    ] = "25,50,100",
    text: Annotated[
        str | None,
        typer.Option(
            metavar="TEXT",
            help="Needles: a text whose beginning they are hidden in, as slice takes it, in place"
            " of a made one.",
        ),
    ] = None,
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
    say again. With --tasks also: random words that come twice, a phone book, and the needles of
    RULER. An answer is right if each of its tokens is the model's first choice, given the true text
    before it (teacher forcing).
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

        told = {name: records(frame) for name, frame in frames.items()}
        print_json({"settings": settings, **told})
    else:
        probe_output.print_frames(frames, settings)
