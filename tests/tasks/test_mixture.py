"""Mixtures of tasks."""

from __future__ import annotations

import pytest
from task_examples import EASY, EXAMPLES, HARD

from recollect.errors import UserError
from recollect.tasks._chance import best_remaining
from recollect.tasks.copying import Copy
from recollect.tasks.mixture import Mixture
from recollect.tasks.task import Task, task


def test_a_mixture_is_its_tasks_components() -> None:
    strings = Copy(min_length=1, max_length=3)
    mixture = Mixture(tasks=(strings, Copy(min_length=9, max_length=9)))
    assert [component.label for component in mixture.components] == [
        *("copy-1", "copy-2", "copy-3", "copy-9")
    ]
    assert Mixture(tasks=(mixture,)).components == mixture.components
    assert mixture.label == "copy-1to3+copy-9"
    assert mixture.max_len == 20
    assert mixture.vocab_size == strings.vocab_size
    answers = [2, 3, 4, 10]
    right = sum(c.chance * n for c, n in zip(mixture.components, answers, strict=True))
    assert mixture.chance == pytest.approx(right / sum(answers))


def test_a_mixture_divides_the_weight_of_a_task_among_its_components() -> None:
    strings = Copy(min_length=1, max_length=3)
    mixture = Mixture(tasks=(strings, Copy(min_length=9, max_length=9)), weights=(1, 5))
    assert mixture.component_weights == (1, 1, 1, 15)
    assert Mixture(tasks=(mixture, mixture)).component_weights == (1, 1, 1, 15) * 2
    assert mixture.label == "1*copy-1to3+5*copy-9"
    right = sum(k * best_remaining(k, 26) + 1 for k in (1, 2, 3))
    right += 15 * (9 * best_remaining(9, 26) + 1)
    assert mixture.chance == pytest.approx(right / (2 + 3 + 4 + 15 * 10))


def test_a_mixture_without_weights_is_stored_as_it_always_was() -> None:
    assert "weights" not in Mixture(tasks=(EASY, HARD)).model_dump(mode="json")
    assert Mixture(tasks=(EASY, HARD), weights=(2, 1)).model_dump(mode="json")["weights"] == [2, 1]


def test_many_tasks_make_a_short_label() -> None:
    tasks = [EASY.replace(seq_len=n) for n in range(16, 40, 2)]
    label = Mixture(tasks=tasks).label
    assert label.startswith("mqar-16x2-v64+...+mqar-38x2-v64-12-")
    assert label != Mixture(tasks=[tasks[0], *tasks[2:-1], tasks[1], tasks[-1]]).label


def test_a_mixture_takes_serialised_tasks() -> None:
    assert Mixture(tasks=[EASY.model_dump(mode="json"), HARD]) == Mixture(tasks=(EASY, HARD))


def test_a_mixture_sends_to_the_component_for_roles() -> None:
    mixture = EXAMPLES["mixture"]
    with pytest.raises(UserError, match=r"use component\(seed\).roles"):
        mixture.roles(mixture.sample(1, seed=0))


@pytest.mark.parametrize(
    ("tasks", "message"),
    [
        ((), "expected at least one task"),
        ((EASY, Copy()), "need the same vocab_size, but mqar-16x2-v64 has 64, copy-5to20 has 29"),
        (("mqar",), "tasks.0='mqar'"),
    ],
)
def test_mixtures_explain_what_does_not_fit(tasks: tuple[Task, ...], message: str) -> None:
    with pytest.raises(UserError, match=message):
        Mixture(tasks=tasks)


@pytest.mark.parametrize(
    ("weights", "message"),
    [((1,), r"weights=\(1,\) for 2 tasks: expected one weight for each"), ((1, 0), "weights.1=0")],
)
def test_mixtures_explain_weights_that_do_not_fit(weights: tuple[int, ...], message: str) -> None:
    with pytest.raises(UserError, match=message):
        Mixture(tasks=(EASY, HARD), weights=weights)


def test_a_mixture_has_the_metrics_of_all_its_tasks() -> None:
    given = [task("in-context-recall", seq_len=16, vocab_size=size) for size in (8, 8)]
    given[1] = given[1].replace(seq_len=32)
    mixed = Mixture(tasks=given, weights=(3, 1))
    (metric,) = mixed.metrics
    guesses = [each.metrics[0].guess for each in given]
    assert metric.name == "recalled"
    marked = [float(each.sample(64, seed=0).marks.double().sum(1).mean()) for each in given]
    weights = 3 * marked[0], marked[1]  # the metric is a mean over marked answers
    expected = sum(w * guess for w, guess in zip(weights, guesses, strict=True)) / sum(weights)
    assert metric.guess == pytest.approx(expected)
    assert Mixture(tasks=(EASY, HARD)).metrics == ()
