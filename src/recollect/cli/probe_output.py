"""Tables, figures and prompts of `recollect probe`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from recollect.cli.output import console, print_json, print_table

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    import pandas as pd

    from recollect.language.pretrained import Pretrained
    from recollect.language.probe import Sampling
    from recollect.language.question import Question
    from recollect.language.words import Words

FILES = {
    "mqar": "recall-by-pairs",
    "distance": "recall-by-distance",
    "copy": "recall-by-length",
    "repetition": "repetition-by-length",
    "phonebook": "recall-by-entries",
    "needles": "recall-by-filler",
}
"""File names of the tables; they differ from those of `recollect slice`, so that both fit in one
folder."""
HOW = (
    "An answer is correct if each of its tokens is the model's most likely one, given the true text"
    " before it (teacher forcing). Chance level: guessing among the words or numbers of the prompt"
    " that could be the answer and have not been asked for yet; with a single needle, among all"
    " possible values."
)


def settings_of(
    model: Pretrained,
    words: Words,
    questions: Mapping[str, Sequence[Question]],
    sampling: Sampling,
) -> dict[str, Any]:
    """The settings of a probe.

    Args:
        model: the probed model.
        words: the words that prompts are made of.
        questions: the questions by task.
        sampling: number of prompts, shots and seed.
    """
    from recollect.language.lost import lost_in

    longest = (each[-1] for each in questions.values())  # a longer text has further characters
    prompts = [next(sampling.prompts(each, words.words)).text for each in longest]
    return {
        "model": model.name,
        "words": len(words.words),
        "tokens_a_word": words.tokens,
        "begins_with": model.begins_with,
        "leaves_out": model.leaves_out,
        "lost": lost_in(model.tokenizer, "".join(prompts)),
        **sampling.model_dump(),
    }


def notes(settings: Mapping[str, Any]) -> list[str]:
    """One line for each unusual thing about the prompts of this model."""
    found = []
    if settings["tokens_a_word"] > 1:
        found.append(
            f"Words have {settings['tokens_a_word']} tokens each, because this tokenizer has too"
            " few words of a single token."
        )
    if settings["lost"]:
        found.append(
            f"The tokenizer loses {' and '.join(settings['lost'])} of a prompt: the model does not"
            " see the prompt as written."
        )
    if settings["leaves_out"]:
        found.append(
            f"{settings['leaves_out']}, which the tokenizer adds to the end of a text, is left out."
        )
    return found


def show_prompts(
    questions: Mapping[str, Sequence[Question]],
    words: Sequence[str],
    sampling: Sampling,
    remarks: Sequence[str],
    *,
    as_json: bool,
) -> None:
    """Print the first prompt of each task, with the answers in bold."""
    from rich.text import Text

    prompts = {task: next(sampling.prompts(each[0], words)) for task, each in questions.items()}
    if as_json:
        print_json({task: prompt.text for task, prompt in prompts.items()})
        return
    for task, prompt in prompts.items():
        text = Text(prompt.text)
        for answer in prompt.answers:
            text.stylize("bold", *answer.asked)
        question = questions[task][0]
        heading = Text(f"# {question.task}, {question.label}", "dim")
        end = "" if prompt.text.endswith("\n") else "\n\n"
        console().print(heading, text, sep="\n", end=end, soft_wrap=True)
    for remark in remarks:
        console().print(remark, style="dim", markup=False)


def frames_of(answers: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """The tables of the probed tasks."""
    from recollect.language import probe_frames as frames

    made: dict[str, tuple[str, Callable[[pd.DataFrame], pd.DataFrame]]] = {
        "mqar": ("mqar", frames.mqar_frame),
        "distance": ("mqar", frames.distance_frame),
        "copy": ("copy", frames.copy_frame),
        "repetition": ("repetition", frames.repetition_frame),
        "phonebook": ("phonebook", frames.phonebook_frame),
        "needles": ("niah", frames.needle_frame),
    }
    asked = set(answers["task"])
    return {name: frame(answers) for name, (task, frame) in made.items() if task in asked}


def print_frames(frames: Mapping[str, pd.DataFrame], settings: Mapping[str, Any]) -> None:
    """Print the tables and the settings of the probe."""
    from recollect.reports import probe_tables as tables

    readable = {
        "mqar": tables.readable_mqar,
        "distance": tables.readable_distance,
        "copy": tables.readable_copy,
        "repetition": tables.readable_repetition,
        "phonebook": tables.readable_phonebook,
        "needles": tables.readable_needles,
    }
    out = console()
    for line in (HOW, *notes(settings)):
        out.print(line, style="dim", markup=False)
    for name, frame in frames.items():
        out.print()
        print_table(*readable[name](frame))
    shown = {name: "none" if value in ("", []) else value for name, value in settings.items()}
    text = ", ".join(f"{name}={value}" for name, value in shown.items())
    out.print(f"\n{text}", style="dim", markup=False)


def write_frames(frames: Mapping[str, pd.DataFrame], folder: Path) -> None:
    """Write each table and its figure to a folder."""
    from recollect.cli.report import written
    from recollect.reports import probe_figures as figures
    from recollect.reports.style import save
    from recollect.reports.tables import write_csv

    drawn = {
        "mqar": figures.mqar_figure,
        "distance": figures.distance_figure,
        "copy": figures.copy_figure,
        "repetition": figures.repetition_figure,
        "phonebook": figures.phonebook_figure,
        "needles": figures.needle_figure,
    }
    paths = [folder / f"{FILES[name]}.csv" for name in frames]
    for path, frame in zip(paths, frames.values(), strict=True):
        write_csv(frame, path)
    for name, frame in frames.items():
        figure = drawn[name](frame)
        for form in ("pdf", "png"):
            paths.append(folder / f"{FILES[name]}.{form}")
            save(figure, paths[-1])
    written(*paths)
