"""Rules that every MQAR example obeys, for any configuration."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from recollect.errors import UserError
from recollect.tasks.batch import IGNORED
from recollect.tasks.mqar import MQAR
from recollect.tasks.task import Role

steady = settings(max_examples=150, deadline=None, derandomize=True)


@st.composite
def tasks(draw: st.DrawFn) -> MQAR:
    pairs = draw(st.integers(1, 6))
    passes = draw(st.integers(1, 3))
    seq_len = 2 * pairs * (passes + 1) + 2 * draw(st.integers(0, 10))
    return MQAR(
        seq_len=seq_len,
        num_kv_pairs=pairs,
        vocab_size=seq_len + draw(st.integers(1, 3) | st.just(8000)),
        power=draw(st.sampled_from([0.01, 1.0, 2.5])),
        filler=draw(st.sampled_from(["zero", "random"])),
        num_passes=passes,
        slot_order=draw(st.sampled_from(["random", "drawn"])),
    )


@steady
@given(task=tasks(), n=st.integers(1, 8), seed=st.integers(0, 2**63 - 1))
def test_every_example_keeps_the_rules(task: MQAR, n: int, seed: int) -> None:
    batch = task.sample(n, seed)
    assert batch.inputs.shape == (n, task.seq_len)
    assert batch.positions is not None
    assert batch.positions.shape == batch.targets.shape == (n, task.num_kv_pairs)
    assert {t.dtype for t in (batch.inputs, batch.positions, batch.targets)} == {torch.int64}
    rows = zip(batch.inputs.tolist(), batch.positions.tolist(), batch.targets.tolist(), strict=True)
    for tokens, positions, targets in rows:
        check_example(task, tokens, positions, targets)


def check_example(
    task: MQAR, tokens: Sequence[int], positions: Sequence[int], targets: Sequence[int]
) -> None:
    half, pairs = task.vocab_size // 2, task.num_kv_pairs
    keys, values = tokens[0 : 2 * pairs : 2], tokens[1 : 2 * pairs : 2]
    assert len(set(keys)) == len(set(values)) == pairs
    assert all(1 <= key < half for key in keys)
    assert all(half <= value < task.vocab_size for value in values)

    start = 2 * pairs * task.num_passes
    assert tokens[:start] == tokens[: 2 * pairs] * task.num_passes

    assert all(p >= start and p % 2 == 0 for p in positions)
    assert positions == sorted(set(positions))
    value_of = dict(zip(keys, values, strict=True))
    assert sorted(tokens[p] for p in positions) == sorted(keys)
    assert targets == [value_of[tokens[p]] for p in positions]

    fillers = {tokens[i] for i in range(start, task.seq_len) if i not in positions}
    if task.filler == "zero":
        assert fillers <= {0}
    else:
        assert fillers.isdisjoint({0, *keys, *values})
        assert all(0 < filler < task.vocab_size for filler in fillers)


@steady
@given(task=tasks(), seed=st.integers(0, 2**32))
def test_nothing_is_supervised_but_the_queries(task: MQAR, seed: int) -> None:
    batch = task.sample(3, seed)
    labels = batch.labels()
    assert batch.positions is not None
    assert torch.equal(labels.gather(1, batch.positions), batch.targets)
    assert (labels != IGNORED).sum() == 3 * task.num_kv_pairs


@steady
@given(task=tasks(), seed=st.integers(0, 2**32))
def test_roles_name_every_token(task: MQAR, seed: int) -> None:
    batch = task.sample(2, seed)
    assert batch.positions is not None
    pairs = [Role.KEY, Role.VALUE] * (task.num_kv_pairs * task.num_passes)
    for row, positions in zip(task.roles(batch), batch.positions.tolist(), strict=True):
        roles = [list(Role)[int(i)] for i in row]
        assert roles[: len(pairs)] == pairs
        assert [i for i, role in enumerate(roles) if role is Role.QUERY] == positions
        assert set(roles[len(pairs) :]) <= {Role.QUERY, Role.FILLER}


def test_in_the_tightest_example_every_slot_is_a_query() -> None:
    task = MQAR(seq_len=64, num_kv_pairs=16, vocab_size=65, filler="random")
    batch = task.sample(50, seed=0)
    assert torch.equal(batch.positions, torch.arange(32, 64, 2).expand(50, -1))


def test_the_drawn_order_of_one_pass_and_of_more_asks_for_the_right_pair() -> None:
    for passes in (1, 2):
        task = MQAR(seq_len=48, num_kv_pairs=4, num_passes=passes, slot_order="drawn")
        batch = task.sample(100, seed=1)
        assert batch.positions is not None
        queries = batch.inputs.gather(1, batch.positions)
        pair = (queries[:, :, None] == batch.inputs[:, None, :8:2]).long().argmax(-1)
        assert torch.equal(batch.inputs[:, 1:8:2].gather(1, pair), batch.targets)


def test_tokens_are_spelled() -> None:
    task = MQAR(seq_len=8, num_kv_pairs=1, vocab_size=20)
    assert [task.spell(token) for token in (0, 1, 9, 10, 19)] == [".", "k1", "k9", "v0", "v9"]


def test_labels_tell_settings_apart() -> None:
    task = MQAR(seq_len=64, num_kv_pairs=4)
    changes: list[dict[str, object]] = [
        {},
        {"seq_len": 128},
        {"num_kv_pairs": 8},
        {"vocab_size": 512},
        {"power": 0.1},
        {"filler": "random"},
        {"num_passes": 2},
        {"slot_order": "drawn"},
    ]
    labels = [task.replace(**change).label for change in changes]
    assert labels[0] == "mqar-64x4"
    assert len(set(labels)) == len(labels)
    assert MQAR(seq_len=64, num_kv_pairs=4, num_passes=2, power=1).label == "mqar-64x4-a1.0-p2"


def test_chance_is_one_of_the_values_read() -> None:
    assert MQAR(seq_len=128, num_kv_pairs=8).chance == 1 / 8


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"seq_len": 63}, "seq_len=63 is odd.*use 64"),
        ({"num_kv_pairs": 17}, "num_kv_pairs=17 .* needs seq_len >= 68, given 64: use longer"),
        ({"num_passes": 8}, "num_passes=8 needs seq_len >= 72, given 64"),
        ({"vocab_size": 64}, "vocab_size=64 must exceed seq_len=64: use at least 65"),
        ({"power": 0.0}, "power=0.0: input should be greater than 0"),
        ({"num_kv_pairs": 0}, "num_kv_pairs=0: input should be greater than 0"),
        ({"num_passes": 0}, "num_passes=0: input should be greater than 0"),
        ({"filler": "noise"}, "filler='noise': input should be 'zero' or 'random'"),
        ({"slot_order": "sorted"}, "slot_order='sorted': input should be 'random' or 'drawn'"),
        ({"num_pairs": 4}, "unknown key 'num_pairs': did you mean 'num_kv_pairs'"),
    ],
)
def test_what_does_not_fit_is_explained(values: dict[str, object], message: str) -> None:
    with pytest.raises(UserError, match=message):
        MQAR(**{"seq_len": 64, "num_kv_pairs": 4, **values})
