"""The distributions of MQAR's random choices, by chi-square tests at fixed seeds."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Mapping
from itertools import permutations
from math import factorial

import numpy as np
import pytest
from scipy.stats import chisquare
from torch import Tensor

from positions_alone import positions_alone, slot_by_pair
from recollect.tasks.associative_recall import AssociativeRecall
from recollect.tasks.mqar import MQAR

N = 40_000


def agrees(drawn: Tensor, law: Mapping[tuple[int, ...], float]) -> bool:
    """Whether the rows of `drawn` may well have come from `law`."""
    counts: Counter[Hashable] = Counter(map(tuple, drawn.tolist()))
    assert set(counts) <= set(law)
    observed = np.array([counts[outcome] for outcome in law])
    expected = len(drawn) * np.array(list(law.values()))
    assert expected.min() > 5
    return bool(chisquare(observed, expected).pvalue > 1e-3)


def sequential_draws(slots: int, count: int, power: float) -> dict[tuple[int, ...], float]:
    """The probability of every ordered draw without replacement, by enumeration."""
    weights = np.arange(1, slots + 1) ** (power - 1.0)
    law = {}
    for outcome in permutations(range(slots), count):
        left, probability = weights.sum(), 1.0
        for slot in outcome:
            probability *= weights[slot] / left
            left -= weights[slot]
        law[outcome] = probability
    return law


@pytest.mark.parametrize("power", [0.01, 1.0, 2.0])
def test_one_query_follows_the_power_law(power: float) -> None:
    task = MQAR(seq_len=42, num_kv_pairs=1, power=power)
    assert agrees(slot_by_pair(task, N, seed=3), sequential_draws(20, 1, power))


@pytest.mark.parametrize("power", [0.01, 1.5])
@pytest.mark.parametrize(("pairs", "slots"), [(2, 6), (3, 5), (4, 4)])
def test_the_drawn_order_is_that_of_sequential_draws(pairs: int, slots: int, power: float) -> None:
    task = MQAR(seq_len=2 * (pairs + slots), num_kv_pairs=pairs, power=power, slot_order="drawn")
    assert agrees(slot_by_pair(task, N, seed=4), sequential_draws(slots, pairs, power))


@pytest.mark.parametrize(("pairs", "slots"), [(2, 6), (3, 5), (4, 4)])
def test_in_random_order_any_pair_may_get_any_drawn_slot(pairs: int, slots: int) -> None:
    task = MQAR(seq_len=2 * (pairs + slots), num_kv_pairs=pairs)
    sets: Counter[tuple[int, ...]] = Counter()
    for outcome, probability in sequential_draws(slots, pairs, task.power).items():
        sets[tuple(sorted(outcome))] += probability  # type: ignore[assignment]
    law = {
        outcome: sets[tuple(sorted(outcome))] / factorial(pairs)
        for outcome in permutations(range(slots), pairs)
    }
    assert agrees(slot_by_pair(task, N, seed=5), law)


def test_positions_say_nothing_about_the_pair() -> None:
    assert abs(positions_alone(MQAR(seq_len=64, num_kv_pairs=4)) - 0.25) < 0.003


def test_in_the_public_order_positions_are_a_shortcut() -> None:
    task = MQAR(seq_len=64, num_kv_pairs=4, slot_order="drawn")
    assert abs(positions_alone(task) - 0.2895) < 0.003


@pytest.mark.parametrize(("pairs", "vocab_size"), [(2, 8), (2, 14), (3, 14), (1, 6)])
def test_every_choice_of_keys_and_values_is_equally_likely(pairs: int, vocab_size: int) -> None:
    half = vocab_size // 2
    batch = AssociativeRecall(num_kv_pairs=pairs, vocab_size=vocab_size).sample(N, seed=6)
    for drawn, choices in (
        (batch.inputs[:, 0 : 2 * pairs : 2], range(1, half)),
        (batch.inputs[:, 1 : 2 * pairs : 2], range(half, vocab_size)),
    ):
        outcomes = list(permutations(choices, pairs))
        assert agrees(drawn, dict.fromkeys(outcomes, 1 / len(outcomes)))


def test_fillers_are_independent_and_uniform_over_the_tokens_left() -> None:
    task = MQAR(seq_len=8, num_kv_pairs=1, vocab_size=9, filler="random")
    tokens = task.sample(N, seed=7).inputs
    live = tokens[:, None, :2]
    fillers = tokens[:, [3, 5, 7]]  # odd places after the pair are never queries
    ranks = fillers - 1 - (live < fillers[:, :, None]).sum(-1)
    law = {(a, b, c): 6.0**-3 for a in range(6) for b in range(6) for c in range(6)}
    assert agrees(ranks, law)
