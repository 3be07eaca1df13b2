"""State tracking, stacks, hops, signals and streams: their rules, and settings that they refuse."""

from __future__ import annotations

from collections import Counter
from itertools import product

import pytest

from recollect.errors import UserError
from recollect.tasks.task import task
from recollect.tasks.tracking import group_elements, group_table


@pytest.mark.parametrize(
    ("group", "size"), [("Z2", 2), ("S3", 6), ("A4", 12), ("S4", 24), ("A5", 60), ("S5", 120)]
)
def test_a_group_is_one(group: str, size: int) -> None:
    table = group_table(group)
    everything = list(range(size))
    assert len(group_elements(group)) == size
    assert table[0].tolist() == table[:, 0].tolist() == everything  # the first changes nothing
    assert (table.sort(0).values == table.sort(1).values.T).all()
    for a, b, c in [(1, size - 1, size // 2), (size // 3, 1, 1), (size // 2, size // 3, size - 1)]:
        assert table[table[a, b], c] == table[a, table[b, c]]
    is_abelian = bool((table == table.T).all())
    assert is_abelian == (group == "Z2")


def test_parity_is_the_sum_of_the_bits() -> None:
    batch = task("tracking", group="Z2", min_length=9, max_length=9).sample(50, seed=0)
    assert (batch.targets == batch.inputs.cumsum(1) % 2).all()


def test_every_order_of_pushes_and_pops_is_equally_likely() -> None:
    batch = task("stacks", num_operations=6, num_stacks=1, num_elements=2).sample(10_000, seed=0)
    push = batch.inputs[0, 0]  # the first operation pushes
    drawn = Counter(map(tuple, (batch.inputs[:, ::3] == push).tolist()))
    orders = [
        order
        for order in product([True, False], repeat=6)
        if sum(order) == 3 and all(2 * sum(order[:i]) >= i for i in range(7))
    ]
    assert set(drawn) == set(orders)
    assert max(abs(count - 2000) for count in drawn.values()) < 200


def test_in_the_public_code_the_last_copied_token_is_known_by_its_place() -> None:
    shares = {}
    for gaps in ("all", "before"):
        copying = task("selective-copying", seq_len=24, num_tokens=4, gaps=gaps)
        batch = copying.sample(2000, seed=0)
        assert (batch.inputs[:, 19] == 15).all()
        shares[gaps] = float((batch.inputs[:, 18] == batch.targets[:, -1]).double().mean())
    assert shares["before"] == 1
    assert shares["all"] < 0.15


def test_a_cycle_is_followed_for_as_many_hops_as_are_asked() -> None:
    hops = {
        which: {
            depo.spell(int(token))
            for token in depo.sample(200, seed=0).inputs.flatten()
            if depo.spell(int(token)).startswith("hop")
        }
        for which in ("all", "powers")
        for depo in [task("depo", min_nodes=6, max_nodes=6, max_hops=6, hops=which)]
    }
    assert hops["all"] == {f"hop{k}" for k in range(1, 7)}
    assert hops["powers"] == {"hop1", "hop2", "hop4", "hop6"}


def test_small_cycles_are_more_frequent() -> None:
    depo = task("depo", min_nodes=3, max_nodes=9)
    weights = depo.component_weights
    assert weights[0] / weights[-1] == pytest.approx((9 + 3) / (3 + 3), rel=1e-4)


def test_every_place_of_a_noisy_pattern_is_wrong_as_often() -> None:
    pattern = task("pattern", period=4, num_repeats=10, noise=0.3)
    batch = pattern.sample(50, seed=0)
    copies = batch.inputs[:, :40].view(50, 10, 4)
    assert ((copies != batch.targets[:, None]).sum(1) == 3).all()


def test_a_flip_flop_ignores_as_much_as_it_says() -> None:
    flip_flop = task("flip-flop", num_instructions=100, ignored=0.8)
    what = flip_flop.sample(200, seed=0).inputs[:, ::2]
    shares = [(what == token).double().mean().item() for token in (2, 3, 4)]  # w, r, i
    assert shares == pytest.approx([0.107, 0.11, 0.783], abs=0.01)


def test_a_signal_is_smooth() -> None:
    levels = task("signal", num_waves=1, shortest=16).sample(100, seed=0).inputs
    assert levels.diff(dim=1).abs().max() <= 32 / 2 * 2 * 3.15 / 16 + 1


@pytest.mark.parametrize(
    ("name", "values", "message"),
    [
        ("tracking", {"min_length": 9, "max_length": 8}, "min_length=9 exceeds max_length=8"),
        ("tracking", {"group": "M11"}, "group='M11': input should be 'Z2'"),
        (
            "selective-copying",
            {"seq_len": 32},
            "seq_len=32 is too short for num_tokens=16: .* least 33",
        ),
        ("depo", {"min_nodes": 80}, "min_nodes=80 exceeds max_nodes=75"),
        ("depo", {"num_letters": 5}, "give 25 words for max_nodes=75: use more letters"),
        ("set-disjointness", {"vocab_size": 22}, "vocab_size=22 is too small .* at least 23"),
        ("signal", {"num_waves": 17}, "num_periods=16 for num_waves=17"),
        ("signal", {"seq_len": 8}, "shortest=8.0 must be below seq_len=8"),
        ("pattern", {"num_repeats": 2, "noise": 0.5}, "noise=0.5"),
        ("noisy-stream", {"seq_len": 5}, "seq_len=5 is too short for num_kv_pairs=2: .* least 6"),
        ("noisy-stream", {"num_keys": 1}, "num_keys=1 for num_kv_pairs=2"),
        ("in-context-recall", {"seq_len": 31}, "seq_len=31 is odd: use 32"),
        ("in-context-recall", {"frac_noise": 0.2}, "frac_noise=0.2 needs noise_vocab_size > 0"),
        ("in-context-recall", {"noise_vocab_size": 13}, "too few keys and values: use at least 17"),
        ("fuzzy-in-context-recall", {"vocab_size": 6}, "too few letters: use at least 7"),
        ("fuzzy-in-context-recall", {"seq_len": 17}, "too short for pairs: use at least 18"),
        ("memorization", {"seq_len": 3}, "seq_len=3 is odd"),
        ("stacks", {"num_operations": 7}, "num_operations=7 is odd, .* use 8"),
    ],
)
def test_what_does_not_fit_is_explained(name: str, values: dict[str, object], message: str) -> None:
    with pytest.raises(UserError, match=message):
        task(name, **values)
