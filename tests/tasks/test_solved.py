"""A program solves every task; guesses that ignore the question do not."""

from __future__ import annotations

from collections import Counter
from itertools import product

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from task_examples import CONFIGS, EXAMPLES
from task_solvers import SOLVERS
from torch import Tensor

from recollect.tasks._chance import best_guess, best_remaining
from recollect.tasks.batch import Batch
from recollect.tasks.copying import Copy
from recollect.tasks.task import Role, Task, task

BY_PLACE = {"copy", "palindrome", "compression", "pattern"}
"""Tasks that ask for what is at a known place; a copy from there is no shortcut."""


def answers(batch: Batch) -> list[tuple[list[int], list[int], list[int]]]:
    """The tokens of each example, the places of its answers, and these."""
    places = torch.arange(batch.inputs.shape[1]).expand_as(batch.inputs)
    positions = places if batch.positions is None else batch.positions
    counts = torch.ones_like(positions) if batch.marks is None else batch.marks
    return [
        (tokens.tolist(), where[count > 0].tolist(), what[count > 0].tolist())
        for tokens, where, what, count in zip(
            batch.inputs, positions, batch.targets, counts, strict=True
        )
    ]


def check(task: Task, n: int, seed: int) -> None:
    batch, component = task.sample(n, seed), task.component(seed)
    assert batch.inputs.shape == (n, component.max_len)
    for tensor in (batch.inputs, batch.targets):
        assert tensor.dtype == torch.int64
        assert tensor.min() >= 0
        assert tensor.max() < task.vocab_size
    roles = component.roles(batch)
    assert roles.shape == batch.inputs.shape
    assert roles.min() >= 0
    assert roles.max() < len(Role)
    assert 0 < component.chance <= 1
    assert component.answer_bits is None or component.answer_bits > -1e-9
    for tokens, places, targets in answers(batch):
        assert places == sorted(set(places))
        assert SOLVERS[task.name](component, tokens, places) == targets


def test_every_task_has_a_solver() -> None:
    assert set(SOLVERS) == set(EXAMPLES), "add a program to SOLVERS in tests/tasks/task_solvers.py"


def test_every_task_has_configs() -> None:
    own_tests = {"mqar", "ar", "copy", "mixture"}
    hint = "add the ranges of its options to CONFIGS in tests/tasks/task_examples.py"
    assert set(CONFIGS) == set(EXAMPLES) - own_tests, hint


@pytest.mark.parametrize("name", SOLVERS)
def test_a_program_answers_every_example(name: str) -> None:
    for seed in range(3):
        check(EXAMPLES[name], 20, seed)


@pytest.mark.parametrize("name", CONFIGS)
def test_a_program_answers_every_example_of_every_config(name: str) -> None:
    seen: dict[str, Task] = {}

    @settings(max_examples=25)
    @given(task=CONFIGS[name], seed=st.integers(0, 2**40))
    def each(task: Task, seed: int) -> None:
        check(task, 3, seed)
        assert seen.setdefault(task.label, task) == task

    each()


@pytest.mark.parametrize(("read", "choices"), [(1, 3), (6, 4), (4, 2), (3, 5)])
def test_the_best_guess_is_the_most_frequent_of_what_was_read(read: int, choices: int) -> None:
    most = [max(Counter(drawn).values()) for drawn in product(range(choices), repeat=read)]
    assert best_guess(read, choices) == pytest.approx(sum(most) / len(most) / read)


@pytest.mark.parametrize(("read", "choices"), [(1, 3), (6, 4), (4, 2), (3, 5)])
def test_the_best_guess_among_the_rest_knows_the_answers_so_far(read: int, choices: int) -> None:
    most = [
        max(Counter(drawn[answered:]).values()) / (read - answered)
        for drawn in product(range(choices), repeat=read)
        for answered in range(read)
    ]
    assert best_remaining(read, choices) == pytest.approx(sum(most) / len(most))


@pytest.mark.parametrize(("read", "choices"), [(100, 64), (300, 10)])
def test_the_guess_among_the_rest_is_the_mean_over_what_is_left(read: int, choices: int) -> None:
    guesses = [best_guess(left, choices) for left in range(1, read + 1)]
    assert best_remaining(read, choices) == pytest.approx(sum(guesses) / read, rel=1e-9)


def test_the_chance_of_long_strings_is_bounded() -> None:
    """In 2,048 tokens, 32 of each of 64 ids are expected; the most frequent one has some more."""
    assert 1 / 64 < best_guess(2048, 64) < best_remaining(2048, 64) < 3 / 64


ANSWERED = {
    "copy": Copy(min_length=6, max_length=6),
    "palindrome": task("palindrome", length=5, num_tokens=4),
    "joint-recall": task("joint-recall", num_contexts=3, num_keys=3),
}
"""Tasks whose answers follow in the input, and for each the answers of one string or context."""


@pytest.mark.parametrize("name", ANSWERED)
def test_a_guess_that_counts_what_is_left_reaches_the_chance_level(name: str) -> None:
    of = ANSWERED[name]
    answers = of.sample(2000, seed=3).targets
    last = answers.shape[1] - 1 if name == "copy" else answers.shape[1]
    block = 3 if name == "joint-recall" else last
    right = 0.0
    for row in answers[:, :last].tolist():
        for start in range(0, last, block):
            part = row[start : start + block]
            for i in range(len(part)):
                right += max(Counter(part[i:]).values()) / len(part[i:])
    known = len(answers) if name == "copy" else 0  # the end mark
    assert (right + known) / answers.numel() == pytest.approx(of.chance, abs=0.01)


@pytest.mark.parametrize(
    ("seq_len", "num_tokens", "gaps"), [(10, 4, "all"), (11, 4, "before"), (19, 8, "all")]
)
def test_few_blanks_leave_few_places(seq_len: int, num_tokens: int, gaps: str) -> None:
    """The best guess is learnt on some examples and tried on others."""
    of = task("selective-copying", seq_len=seq_len, num_tokens=num_tokens, vocab_size=8, gaps=gaps)
    train, test = of.sample(4000, seed=1), of.sample(4000, seed=2)

    def hits(batch: Batch) -> Tensor:
        return batch.targets[:, :, None] == batch.inputs[:, None]

    best = hits(train).double().mean(0).argmax(1)
    blank = int(test.inputs[:, -1].max())
    counts = torch.stack([(test.targets == token).sum(1) for token in range(6)], dim=1)
    frequent = counts.argmax(1, keepdim=True)
    found = test.inputs[:, best]
    guess = torch.where(found == blank, frequent, found)
    by_place, always = ((each == test.targets).double().mean(0) for each in (guess, frequent))
    expected = torch.maximum(by_place, always).mean().item()
    assert of.chance == pytest.approx(expected, abs=0.015)


def learn_guess(right: Tensor, place: Tensor) -> Tensor:
    """For each answer of an example and each place where it may stand, the guess that is right
    most often; `right` (n, Q, G) says which of the guesses are."""
    n, asked, guesses = right.shape
    counts = torch.zeros(asked, int(place.max()) + 1, guesses)
    rank = torch.arange(asked).expand(n, asked)
    return counts.index_put_((rank, place), right.float(), accumulate=True).argmax(-1)


@pytest.mark.parametrize("name", EXAMPLES)
def test_no_guess_beats_chance_that_does_not_read_what_is_asked(name: str) -> None:
    """Neither a constant nor a copy from a constant place, each chosen by the place and the rank of
    the question."""
    n = 4000
    task = EXAMPLES[name].components[-1]
    if name == "mqar":
        task = task.replace(slot_order="random")
    train, test = task.sample(n, seed=11), task.sample(n, seed=12)

    def guesses(batch: Batch) -> tuple[Tensor, Tensor]:
        everywhere = torch.arange(batch.inputs.shape[1])
        place = everywhere.repeat(n, 1) if batch.positions is None else batch.positions
        constant = batch.targets[:, :, None] == torch.arange(task.vocab_size)
        if name in BY_PLACE:
            return constant, place
        copied = batch.targets[:, :, None] == batch.inputs[:, None]
        return torch.cat([constant, copied & (everywhere <= place[:, :, None])], dim=2), place

    guess = learn_guess(*guesses(train))
    right, place = guesses(test)
    rank = torch.arange(place.shape[1]).expand_as(place)
    hits = right.gather(2, guess[rank, place][:, :, None]).double().squeeze(2)
    counted = torch.ones_like(hits) if test.marks is None else test.marks.double()
    expected = task.chance if test.marks is None else task.metrics[0].guess
    of_example = (hits * counted).sum(1) / counted.sum(1)
    reached = (hits * counted).sum() / counted.sum()
    assert reached < expected + 4 * of_example.std() / n**0.5, (
        f"a guess that does not read the question reaches {reached:.3f}, but chance is"
        f" {expected:.3f}: correct `chance`, or add a task that asks for a known place to BY_PLACE"
    )
