"""A program for each task that answers from the tokens alone, token by token.

Each takes the task, the tokens of an example and the places where it must answer, and gives the
answers.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

Tokens = Sequence[int]
Solver = Callable[[Any, Tokens, Tokens], list[int]]


def pairs(task: Any, tokens: Tokens, places: Tokens) -> list[int]:
    """Recall of the last value of a key: pairs first, queries of one token."""
    value_of = {tokens[i]: tokens[i + 1] for i in range(0, _context(task, tokens), 2)}
    return [value_of[tokens[i]] for i in places]


def _context(task: Any, tokens: Tokens) -> int:
    return getattr(task, "context_len", len(tokens) - 1)


def copy(task: Any, tokens: Tokens, places: Tokens) -> list[int]:
    middle = len(tokens) // 2
    letters = {i: tokens[i - middle + 1] for i in places}
    return [*list(letters.values())[:-1], task.vocab_size - 1]


def mixture(task: Any, tokens: Tokens, places: Tokens) -> list[int]:
    return SOLVERS[task.name](task, tokens, places)


def compositional(task: Any, tokens: Tokens, places: Tokens) -> list[int]:
    value_of = {
        (tokens[i], tokens[i + 1]): tokens[i + 2] for i in range(0, 3 * task.num_kv_pairs, 3)
    }
    return [value_of[tokens[i - 1], tokens[i]] for i in places]


def stacked(task: Any, tokens: Tokens, places: Tokens) -> list[int]:
    pairs = [task.spell(token).split("=") for token in tokens if "=" in task.spell(token)]
    value_of = {key: int(value[1:]) for key, value in pairs}
    return [value_of[task.spell(tokens[i])] for i in places]


def noisy_keys(task: Any, tokens: Tokens, places: Tokens) -> list[int]:
    width = task.key_len
    entries = [
        (tokens[i : i + width], tokens[i + width])
        for i in range(0, task.num_kv_pairs * (width + 1), width + 1)
    ]
    answers = []
    for place in places:
        query = tokens[place - width + 1 : place + 1]
        answers.append(min(entries, key=lambda entry: _apart(entry[0], query))[1])
    return answers


def _apart(one: Tokens, other: Tokens) -> int:
    return sum(a != b for a, b in zip(one, other, strict=True))


def n_back(task: Any, tokens: Tokens, places: Tokens) -> list[int]:
    written: dict[int, list[int]] = {}
    for i in range(0, 2 * task.num_kv_pairs * task.num_writes, 2):
        written.setdefault(tokens[i], []).append(tokens[i + 1])
    assert {len(values) for values in written.values()} == {task.num_writes}
    return [written[tokens[i]][-task.n_back] for i in places]


def joint_recall(task: Any, tokens: Tokens, places: Tokens) -> list[int]:
    table: dict[tuple[str, str], int] = {}
    answers, context, key = [], "", ""
    for place, token in enumerate(tokens):
        said = task.spell(token)
        if said[0] == "c":
            context = said
        elif said[0] == "k":
            key = said
        elif said[0] == "v":
            table.setdefault((context, key), token)
        if place in places:
            answers.append(table[context, key])
    return answers


SOLVERS: dict[str, Solver] = {
    "mqar": pairs,
    "ar": pairs,
    "copy": copy,
    "mixture": mixture,
    "forgetting": pairs,
    "compositional": compositional,
    "stacked": stacked,
    "noisy-keys": noisy_keys,
    "n-back": n_back,
    "joint-recall": joint_recall,
}
