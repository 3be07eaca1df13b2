"""A program for each task that answers from the tokens only, token by token.

Each takes the task, the tokens of an example and the supervised positions, and returns the answers.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from functools import cache
from itertools import combinations, product
from typing import Any

import numpy as np

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


def tracking(task: Any, tokens: Tokens, places: Tokens) -> list[int]:
    """Permutations and sums, applied to a row of things."""
    if task.group[0] == "Z":
        size = int(task.group[1:])
        return [sum(tokens[: place + 1]) % size for place in places]
    size = int(task.group[1:])
    spelled = {task.spell(token): token for token in range(task.vocab_size)}
    row, answers = [str(i + 1) for i in range(size)], []
    for place, token in enumerate(tokens):
        where = {str(i + 1): to for i, to in enumerate(task.spell(token))}
        row = [where[thing] for thing in row]
        if place in places:
            answers.append(spelled["".join(row)])
    return answers


def selective_copying(task: Any, tokens: Tokens, places: Tokens) -> list[int]:
    return [token for token in tokens if task.spell(token) not in ".|"]


def palindrome(task: Any, tokens: Tokens, places: Tokens) -> list[int]:
    return list(tokens[: task.length])[::-1]


def stacks(task: Any, tokens: Tokens, places: Tokens) -> list[int]:
    held: dict[int, list[int]] = {}
    answers = []
    for place in range(0, len(tokens), 3):
        what, stack, element = tokens[place : place + 3]
        if task.spell(what) == "push":
            held.setdefault(stack, []).append(element)
        else:
            answers.append(held[stack].pop())
            assert answers[-1] == element
    return answers


def depo(task: Any, tokens: Tokens, places: Tokens) -> list[int]:
    width = task.word_len
    first = places[0] - width - 1  # the first question
    cut = [tuple(tokens[i : i + width]) for i in range(1, first, width)]
    after = dict(zip(cut[::2], cut[1::2], strict=True))
    assert len(after) == (first - 1) // (2 * width)
    answers: list[int] = []
    for place in range(first, len(tokens), 2 * width + 2):
        word = tuple(tokens[place + 1 : place + 1 + width])
        for _ in range(int(task.spell(tokens[place]).removeprefix("hop"))):
            word = after[word]
        answers += word
    return answers


def set_disjointness(task: Any, tokens: Tokens, places: Tokens) -> list[int]:
    spelled = [task.spell(token) for token in tokens]
    between = spelled.index("&")
    (common,) = set(tokens[1:between]) & set(tokens[between + 1 : -1])
    return [common]


def in_context(task: Any, tokens: Tokens, places: Tokens) -> list[int]:
    """The letter behind each place, in the value that the key had before."""
    kinds = "".join(task.spell(token)[0] for token in tokens) + "v"
    answers = []
    for place in places:
        start = place + 1
        while kinds[start - 1] == "v":
            start -= 1  # where the value begins
        first = start
        while first and kinds[first - 1] == "k":
            first -= 1
        key, said = list(tokens[first:start]), list(tokens[start : place + 1])
        values = [
            list(tokens[end : end + len(said) + 1])
            for end in range(len(key), start)
            if list(tokens[end - len(key) : end]) == key
            and (end == len(key) or kinds[end - len(key) - 1] != "k")
            and kinds[end] == "v"
        ]
        assert values[0][:-1] == said
        answers.append(values[0][-1])
    return answers


def compression(task: Any, tokens: Tokens, places: Tokens) -> list[int]:
    return list(tokens[: task.seq_len - 1])


def memorization(task: Any, tokens: Tokens, places: Tokens) -> list[int]:
    """Learn the map from other examples, like a model."""
    batch = task.sample(max(64, task.vocab_size), seed=1)
    keys, values = batch.inputs[:, ::2].flatten(), batch.targets.flatten()
    value_of = dict(zip(keys.tolist(), values.tolist(), strict=True))
    return [value_of[tokens[place - 1]] for place in places]


@cache
def all_signals(task: Any) -> np.ndarray:
    """Every signal of a task, (signals, values)."""
    times = np.arange(task.seq_len + 1)
    long, short = np.log(task.seq_len), np.log(task.shortest)
    periods = np.exp(np.linspace(short, long, task.num_periods))
    turns = (np.arange(task.num_phases) + 0.5) / task.num_phases
    waves = np.sin(2 * np.pi * (times / periods[:, None, None] + turns[:, None]))
    sums = [
        waves[list(which), list(phases)].mean(0)
        for which in combinations(range(task.num_periods), task.num_waves)
        for phases in product(range(task.num_phases), repeat=task.num_waves)
    ]
    levels = np.floor((np.array(sums) + 1) / 2 * task.num_levels + 1e-8)
    return np.minimum(levels, task.num_levels - 1).astype(int)


def signal(task: Any, tokens: Tokens, places: Tokens) -> list[int]:
    """The next value of the signals that agree with all values so far."""
    left = all_signals(task)
    left = left[(left[:, : places[0] + 1] == tokens[: places[0] + 1]).all(1)]
    answers = []
    for place in places:
        left = left[left[:, place] == tokens[place]]
        answers.append(Counter(left[:, place + 1].tolist()).most_common(1)[0][0])
    return answers


def pattern(task: Any, tokens: Tokens, places: Tokens) -> list[int]:
    read = tokens[: task.period * task.num_repeats]
    return [Counter(read[i :: task.period]).most_common(1)[0][0] for i in range(task.period)]


def flip_flop(task: Any, tokens: Tokens, places: Tokens) -> list[int]:
    written, answers = -1, []
    for place in range(0, len(tokens), 2):
        what = task.spell(tokens[place])
        if what == "w":
            written = tokens[place + 1]
        if what == "r":
            answers.append(written)
    return answers


def noisy_stream(task: Any, tokens: Tokens, places: Tokens) -> list[int]:
    is_key = [task.spell(token)[0] == "k" for token in tokens]
    value_of = {tokens[i]: tokens[i + 1] for i in range(places[0]) if is_key[i]}
    return [value_of[tokens[place]] for place in places]


def tree_recall(task: Any, tokens: Tokens, places: Tokens) -> list[int]:
    """By the brackets: the last token of a constituent is its head, and stands for it outside."""
    (place,) = places
    head_of: dict[int, int] = {}
    open_groups: list[list[int]] = [[]]
    for i, token in enumerate(tokens[1:place], start=1):
        said = task.spell(token)
        if said == "(":
            open_groups.append([])
        elif said == ")":
            *hanging, head = open_groups.pop()
            head_of |= dict.fromkeys(hanging, head)
            open_groups[-1].append(head)
        else:
            open_groups[-1].append(i)
    (last,) = [i for i in range(1, place) if tokens[i] == tokens[place]][-1:]
    return [tokens[head_of[last]]]


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
    "tracking": tracking,
    "selective-copying": selective_copying,
    "palindrome": palindrome,
    "stacks": stacks,
    "depo": depo,
    "set-disjointness": set_disjointness,
    "in-context-recall": in_context,
    "fuzzy-in-context-recall": in_context,
    "compression": compression,
    "memorization": memorization,
    "signal": signal,
    "pattern": pattern,
    "flip-flop": flip_flop,
    "noisy-stream": noisy_stream,
    "tree-recall": tree_recall,
}
