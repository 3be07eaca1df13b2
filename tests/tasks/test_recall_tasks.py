"""Tasks like MQAR: faults of public generators that they avoid, and settings that they refuse."""

from __future__ import annotations

import pytest
import torch

from recollect.errors import UserError
from recollect.tasks.forgetting import ForgettingMQAR
from recollect.tasks.task import task


def test_in_the_public_order_positions_are_a_shortcut_in_forgetting_too() -> None:
    """Ranks alone show it: the first question is about an early pair."""
    shares = {}
    for order in ("random", "drawn"):
        recall = ForgettingMQAR(seq_len=64, num_kv_pairs=4, num_updates=2, slot_order=order)
        batch = recall.sample(20_000, seed=0)
        assert batch.positions is not None
        asked = batch.inputs.gather(1, batch.positions)
        shares[order] = float((asked[:, 0] == batch.inputs[:, 0]).double().mean())
    assert abs(shares["random"] - 0.25) < 0.015
    assert shares["drawn"] > 0.275


def test_every_update_changes_a_value() -> None:
    recall = ForgettingMQAR(seq_len=40, num_kv_pairs=4, num_updates=4, vocab_size=20)
    batch = recall.sample(200, seed=0)
    values = batch.inputs[:, 1:16:2].sort(dim=1).values
    assert (values.diff(dim=1) > 0).all()
    for early in (1, 3, 5, 7):
        assert not (batch.targets == batch.inputs[:, early, None]).any()


def test_the_first_half_of_a_compound_key_leaves_as_many_values_as_there_are_second_ones() -> None:
    batch = task("compositional", seq_len=60, num_kv_pairs=9, vocab_size=90).sample(50, seed=0)
    for tokens in batch.inputs.tolist():
        first, second = tokens[0:27:3], tokens[1:27:3]
        assert {first.count(token) for token in first} == {3}
        assert {second.count(token) for token in second} == {3}


def test_a_noisy_query_has_as_many_errors_as_asked_for() -> None:
    recall = task("noisy-keys", seq_len=100, num_kv_pairs=4, key_len=6, num_errors=2)
    batch = recall.sample(100, seed=0)
    assert batch.positions is not None
    context = batch.inputs[:, :28].view(100, 4, 7)
    query = torch.stack([batch.inputs.gather(1, batch.positions - i) for i in range(5, -1, -1)], 2)
    apart = (query[:, :, None] != context[:, None, :, :6]).sum(-1)
    assert (apart.min(-1).values == 2).all()
    assert ((apart == 2).sum(-1) == 1).all()


@pytest.mark.parametrize(
    ("name", "values", "message"),
    [
        (
            "forgetting",
            {"seq_len": 23},
            "seq_len=23 is too short for 4 queries after 16 tokens: .* 24",
        ),
        ("forgetting", {"num_updates": 5}, "num_updates=5 exceeds num_kv_pairs=4"),
        ("forgetting", {"vocab_size": 15}, "vocab_size=15 is too small: use at least 16"),
        ("noisy-keys", {"filler": "random", "vocab_size": 20, "num_letters": 16}, "no token for"),
        ("compositional", {"num_kv_pairs": 5}, "num_kv_pairs=5 is not a square: use 4 or 9"),
        ("stacked", {"num_keys": 3}, "num_keys=3 for num_kv_pairs=4"),
        ("noisy-keys", {"num_errors": 2}, "num_errors=2 of key_len=4 letters: expected fewer"),
        ("noisy-keys", {"num_letters": 2}, "too close to each other: use longer keys"),
        ("n-back", {"n_back": 5}, "n_back=5 exceeds num_writes=4"),
        ("joint-recall", {"num_keys": 17}, "most=16 is too small for 17 contexts or keys"),
    ],
)
def test_what_does_not_fit_is_explained(name: str, values: dict[str, object], message: str) -> None:
    usual: dict[str, object] = {}
    if name != "joint-recall":
        usual["num_kv_pairs"] = 4
    if name not in ("joint-recall", "stacked"):
        usual["seq_len"] = 64
    with pytest.raises(UserError, match=message):
        task(name, **(usual | values))
