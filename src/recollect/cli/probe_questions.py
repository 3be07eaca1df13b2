"""The questions of `recollect probe`, from its options."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, cast

from recollect.cli.output import listed, numbers, print_reading
from recollect.errors import UserError, unknown

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from recollect.language.needles import Kind
    from recollect.language.question import Question
    from recollect.language.tokenizer import Tokenizer

ALL = "all"
"""Stands for all tasks."""


class Sizes(NamedTuple):
    """The sizes of each task as typed, `N,N,...`."""

    pairs: str
    distances: str
    copy_lengths: str
    repeat_lengths: str
    entries: str
    filler: str


def tasks_of(typed: str, text: str | None) -> list[str]:
    """The tasks to probe, each once.

    Raises:
        UserError: for an unknown task, none at all, or a text that none of the tasks uses.
    """
    from recollect.language.needles import KINDS

    known = ["mqar", "copy", "repetition", "phonebook", *KINDS]
    named = listed("--tasks", typed)
    asked = [each for name in named for each in (known if name == ALL else [name])]
    for name in asked:
        if name not in known:
            raise unknown("task", name, [*known, ALL])
    reading = [kind for kind, hay in KINDS.items() if hay.filler == "text"]
    if text is not None and not set(asked) & set(reading):
        raise UserError(
            f"--text {text} is only used by {', '.join(reading)}: add one of them to --tasks"
        )
    return [name for name in known if name in asked]


def hay_of(name: str | None, filler: str, tokenizer: Tokenizer) -> dict[int, str]:
    """The beginnings of a user's text by number of words; empty without a text.

    How the text was read is printed on standard error.

    Raises:
        UserError: if the text is too short, or the tokenizer cannot encode it.
    """
    from recollect.language.filler import text_from
    from recollect.language.sources import open_corpus

    if name is None:
        return {}
    corpus = open_corpus(name)
    print_reading(corpus)
    found = {size: text_from(corpus, size) for size in _sizes("--filler", filler)}
    tokenizer.encode([*found.values()])  # raises on control tokens
    return found


def questions_of(
    tasks: Sequence[str], sizes: Sizes, hay: Mapping[int, str]
) -> dict[str, list[Question]]:
    """All questions, by task.

    Args:
        tasks: names of tasks.
        sizes: the sizes of each task.
        hay: a user's text to hide needles in (`hay_of`).
    """
    return {task: _of_task(task, sizes, hay) for task in tasks}


def _of_task(task: str, sizes: Sizes, hay: Mapping[int, str]) -> list[Question]:
    from recollect.language.needles import Needle
    from recollect.language.phonebook import Phonebook
    from recollect.language.prompts import Copying, Recall, Repetition

    if task == "mqar":
        far, counts = _sizes("--distance", sizes.distances), _sizes("--pairs", sizes.pairs)
        return [Recall(pairs=pairs, distance=distance) for distance in far for pairs in counts]
    if task == "copy":
        return [Copying(words=words) for words in _sizes("--copy-lengths", sizes.copy_lengths)]
    if task == "repetition":
        lengths = _sizes("--repeat-lengths", sizes.repeat_lengths)
        return [Repetition(length=length) for length in lengths]
    if task == "phonebook":
        return [Phonebook(entries=entries) for entries in _sizes("--entries", sizes.entries)]
    kind = cast("Kind", task)
    fillers = _sizes("--filler", sizes.filler)
    return [Needle(kind=kind, filler=words, text=hay.get(words)) for words in fillers]


def _sizes(option: str, text: str) -> list[int]:
    """The typed numbers in ascending order, each once."""
    return sorted(set(numbers(option, text)))
