"""Bits that a state holds, by the exact bound, and the limits beside it."""

from __future__ import annotations

import math
from itertools import permutations

import pytest
import torch

from recollect.analysis.capacity import LINEAR_BITS, asked, state_asked
from recollect.models.config import ModelConfig
from recollect.referee.state import Size
from recollect.tasks.copying import Copy
from recollect.tasks.mixture import Mixture
from recollect.tasks.mqar import MQAR
from recollect.tasks.task import Task, task

SMALL = MQAR(seq_len=8, num_kv_pairs=2, vocab_size=12)


@pytest.mark.parametrize(
    ("seq_len", "pairs", "bits"),
    [(64, 4, 48.0), (128, 8, 96.0), (256, 16, 192.0), (512, 64, 767.3), (512, 128, 1533)],
)
def test_mqar_asks_for_an_ordered_choice_of_values(seq_len: int, pairs: int, bits: float) -> None:
    what = asked(MQAR(seq_len=seq_len, num_kv_pairs=pairs))
    assert what is not None
    assert what.bits == pytest.approx(bits, rel=1e-3)
    assert (what.answers, what.begins) == (pairs, 2 * pairs)


def test_the_bound_is_exact_for_who_knows_all_nothing_or_one_value() -> None:
    """Against the mutual information of answers and state, by enumeration of all values."""
    what = asked(SMALL)
    assert what is not None
    worlds = list(permutations(range(6), 2))
    entropy = math.log2(len(worlds))
    assert what.bits == pytest.approx(entropy)
    assert what.recovered(0.0) == pytest.approx(entropy)
    # who knows the first value says the second with 1 / 5, and holds log2 6 bits
    assert what.recovered(math.log(5) / 2) == pytest.approx(math.log2(6))
    # who knows which values there are, but not whose they are, says each with 1 / 2; one bit of the
    # two cross-entropies is counted twice, so that the bound is below what is held
    held = entropy - 1
    assert what.recovered(math.log(2)) == pytest.approx(held - 1)
    assert what.recovered(math.log(6)) == 0


def test_cross_entropies_of_a_model_that_holds_less_never_give_more() -> None:
    """A state of k of the values, which says each of these for certain and guesses the rest among
    those that are left, holds what the bound says, and no more."""
    recall = MQAR(seq_len=16, num_kv_pairs=4, vocab_size=24)
    what = asked(recall)
    assert what is not None
    for known in range(5):
        rest = math.log(12 - known) * (4 - known) / 4
        held = sum(math.log2(12 - i) for i in range(known))
        assert what.recovered(rest) <= held + 1e-9


def test_a_linear_memory_holds_what_its_threshold_says() -> None:
    for d, pairs in ((16, 36), (32, 109), (64, 350), (128, 1161)):
        p = torch.tensor(float(d))
        for _ in range(100):
            p = d**2 / 2 / p.log()  # p ln p = d^2 / 2
        assert p.item() == pytest.approx(pairs, abs=0.6)
        assert p.item() * math.log2(p.item()) / d**2 == pytest.approx(LINEAR_BITS, rel=1e-3)


def state(mixer: str, recall: MQAR) -> Size:
    what = asked(recall)
    assert what is not None
    return state_asked(ModelConfig(mixer=mixer, d_model=8, n_layers=2), recall, what)


def test_the_state_is_measured_before_the_first_question() -> None:
    assert state("linear-attention", SMALL) == state("linear-attention", SMALL.replace(seq_len=10))
    keys_and_values = 2 * 4 * 2 * 8  # of four tokens
    assert state("attention", SMALL).numbers == keys_and_values
    rare = MQAR(seq_len=256, num_kv_pairs=2, vocab_size=600, power=4)  # few ask early
    assert state("attention", rare).numbers == keys_and_values


HOPS = task("depo", min_nodes=3, max_nodes=3)


@pytest.mark.parametrize("other", [Copy(), Mixture(tasks=(SMALL, SMALL.replace(seq_len=10))), HOPS])
def test_other_tasks_have_no_capacity(other: Task) -> None:
    """They have several lengths, or the entropy of their answers is not known."""
    assert asked(other) is None
