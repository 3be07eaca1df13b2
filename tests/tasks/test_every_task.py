"""Requirements on every task of the catalogue, and tests of the tasks other than MQAR."""

from __future__ import annotations

import hashlib

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from task_examples import EXAMPLES, HARD

from recollect.config import canonical_json
from recollect.errors import UserError
from recollect.tasks._chance import best_guess
from recollect.tasks.associative_recall import AssociativeRecall
from recollect.tasks.batch import Batch
from recollect.tasks.copying import Copy
from recollect.tasks.mqar import MQAR
from recollect.tasks.task import TASKS, Role, Task, parse_task

DIGESTS = {
    "mqar": "a4fc759f8b3054cc",
    "ar": "2fa38b7b55325882",
    "copy": "5f77a9e7811bca39",
    "mixture": "733d52b91fbebcdc",
    "forgetting": "22cb6a08f234365d",
    "compositional": "a0bbcb095be46256",
    "stacked": "ebe62852260be485",
    "noisy-keys": "1f6207beeceefbfa",
    "n-back": "661b1063f04f51e0",
    "joint-recall": "3a860408fc0eaf5e",
    "tracking": "bcfd0fff6f6c015e",
    "selective-copying": "7e4d213f9e4d5b5d",
    "palindrome": "38ae28b3a79b03e7",
    "stacks": "64c8328fa3d7e175",
    "depo": "4d8a5dd284c520a4",
    "set-disjointness": "90da83d44f01ad5c",
    "in-context-recall": "94b45a2f941186bd",
    "fuzzy-in-context-recall": "6d5b0fde34378e00",
    "compression": "4267020715fd35de",
    "memorization": "a6d15ffdc23ead3c",
    "signal": "5c1e4b657ce44094",
    "pattern": "e157b8f1eceb4b8b",
    "flip-flop": "01b602dbed31461a",
    "noisy-stream": "b10d6962e5014267",
    "tree-recall": "7822a0c96c5abf82",
}
steady = settings(deadline=None, derandomize=True)
every_task = pytest.mark.parametrize("name", EXAMPLES)


def digest(batch: Batch) -> str:
    sha = hashlib.sha256()
    for tensor in batch.tensors().values():
        sha.update(str(tuple(tensor.shape)).encode() + tensor.numpy().tobytes())
    return sha.hexdigest()[:16]


def test_the_catalogue_is_covered() -> None:
    ours = {name for name in TASKS if TASKS[name].__module__.startswith("recollect.tasks.")}
    assert ours == set(EXAMPLES), "give each task an example in tests/tasks/task_examples.py"


@every_task
def test_examples_are_the_same_for_ever(name: str) -> None:
    """Stored results depend on these bytes."""
    torch.rand(7)  # what ran before does not matter
    found = digest(EXAMPLES[name].sample(64, seed=42))
    assert name in DIGESTS, f'a new task: add "{name}": "{found}" to DIGESTS'
    assert found == DIGESTS[name], (
        "examples changed: raise the task's `numerics`, and correct DIGESTS"
    )


@pytest.mark.parametrize("name", [name for name in EXAMPLES if EXAMPLES[name].answer_bits])
def test_a_task_says_where_its_questions_begin_unless_all_begin_there(name: str) -> None:
    """The capacity of a model needs it (`analysis.capacity`)."""
    task, positions = EXAMPLES[name], EXAMPLES[name].sample(2000, seed=0).positions
    assert positions is not None
    first = positions[:, 0].min()
    if task.first_question is None:
        assert (positions[:, 0] == first).all()
    else:
        assert first == task.first_question


@every_task
def test_the_seed_is_all_that_matters(name: str) -> None:
    task = EXAMPLES[name]
    first = digest(task.sample(16, seed=1))
    others = {digest(task.sample(16, seed)) for seed in (2, 1 + 2**32, 2**63 - 1)}
    assert digest(task.sample(16, seed=1)) == first
    assert first not in others
    assert len(others) == 3


@every_task
def test_serialised_and_back(name: str) -> None:
    task = EXAMPLES[name]
    dumped = task.model_dump(mode="json")
    back = parse_task(dumped)
    assert back == task
    assert isinstance(back, Task)
    assert canonical_json(back.model_dump(mode="json")) == canonical_json(dumped)
    fields = {field: getattr(task, field) for field in type(task).model_fields}
    assert type(task)(**fields) == task


@every_task
def test_equal_configs_are_equal_whatever_was_asked_of_them(name: str) -> None:
    one, other = (parse_task(EXAMPLES[name].model_dump(mode="json")) for _ in range(2))
    assert isinstance(one, Task)
    assert isinstance(other, Task)
    for task in (one, other):
        assert all(component.components for component in task.components)
        assert task.chance > 0
    assert one == other
    assert one.components == other.components


@every_task
def test_a_changed_task_is_not_read_back(name: str) -> None:
    dumped = EXAMPLES[name].model_dump(mode="json")
    with pytest.raises(UserError, match="has changed since this was stored"):
        parse_task(dumped | {"numerics": -1})


@every_task
def test_a_batch_fits_what_the_task_says(name: str) -> None:
    task = EXAMPLES[name]
    for seed in range(20):
        batch, component = task.sample(5, seed), task.component(seed)
        assert component in task.components
        assert component.components == (component,)
        assert digest(component.sample(5, seed)) == digest(batch)
        assert batch.inputs.shape == (5, component.max_len)
        assert component.max_len <= task.max_len
        assert component.vocab_size == task.vocab_size
        for tokens in (batch.inputs, batch.targets):
            assert tokens.min() >= 0
            assert tokens.max() < task.vocab_size
        assert batch.positions is None or (batch.positions.diff(dim=1) > 0).all()
        roles = component.roles(batch)
        assert roles.shape == batch.inputs.shape
        assert {list(Role)[int(i)] for i in roles.unique()} <= set(Role)
        assert all(component.spell(int(token)) for token in batch.inputs[0])


@every_task
def test_components_are_drawn_as_often_as_their_weights_say(name: str) -> None:
    task = EXAMPLES[name]
    drawn = [task.component(seed) for seed in range(2000)]
    for component, weight in zip(task.components, task.component_weights, strict=True):
        share = 2000 * weight / sum(task.component_weights)
        assert abs(drawn.count(component) - share) < 5 * share**0.5


# Associative recall


@steady
@given(data=st.data(), pairs=st.integers(1, 12), seed=st.integers(0, 2**32))
def test_recall_asks_for_one_of_the_keys(data: st.DataObject, pairs: int, seed: int) -> None:
    vocab_size = data.draw(st.integers(2 * pairs + 2, 60))
    task = AssociativeRecall(num_kv_pairs=pairs, vocab_size=vocab_size)
    batch = task.sample(4, seed)
    assert torch.equal(batch.positions, torch.full((4, 1), 2 * pairs))
    for tokens, (target,) in zip(batch.inputs.tolist(), batch.targets.tolist(), strict=True):
        keys, values = tokens[0:-1:2], tokens[1::2]
        assert len(set(keys)) == len(set(values)) == pairs
        assert all(1 <= key < vocab_size // 2 for key in keys)
        assert all(vocab_size // 2 <= value < vocab_size for value in values)
        assert target == values[keys.index(tokens[-1])]


def test_recall_asks_for_every_pair_equally_often() -> None:
    batch = AssociativeRecall(num_kv_pairs=4).sample(20_000, seed=0)
    asked = (batch.inputs[:, 0:8:2] == batch.inputs[:, 8:]).sum(0)
    assert ((asked - 5000).abs() < 250).all()


def test_recall_explains_what_does_not_fit() -> None:
    AssociativeRecall(num_kv_pairs=19, vocab_size=40)
    message = "vocab_size=40 has 19 different keys, but num_kv_pairs=20: use vocab_size >= 42"
    with pytest.raises(UserError, match=message):
        AssociativeRecall(num_kv_pairs=20, vocab_size=40)


def test_recall_prints_itself() -> None:
    task = AssociativeRecall(num_kv_pairs=2, vocab_size=10)
    assert task.label == "ar-2-v10"
    assert AssociativeRecall().label == "ar-10"
    assert task.chance == 0.5
    roles = [list(Role)[int(i)] for i in task.roles(task.sample(1, seed=0))[0]]
    assert roles == [Role.KEY, Role.VALUE, Role.KEY, Role.VALUE, Role.QUERY]
    assert [task.spell(token) for token in (1, 4, 5, 9)] == ["k1", "k4", "v0", "v4"]


@pytest.mark.parametrize("task", [HARD, AssociativeRecall(vocab_size=41)], ids=["mqar", "ar"])
def test_the_loss_of_an_answer_that_reads_nothing_is_the_entropy_of_the_answers(
    task: MQAR | AssociativeRecall,
) -> None:
    answers = task.sample(20_000, seed=0).targets.flatten()
    share = answers.bincount() / len(answers)
    entropy = torch.special.entr(share).sum().item()
    assert task.marginal_loss == pytest.approx(entropy, abs=2e-3)


# Copying


@steady
@given(length=st.integers(1, 30), seed=st.integers(0, 2**32))
def test_a_string_is_copied_and_ended(length: int, seed: int) -> None:
    task = Copy(min_length=length, max_length=length)
    batch = task.sample(3, seed)
    assert batch.positions is not None
    for tokens, positions, targets in zip(
        batch.inputs, batch.positions, batch.targets, strict=True
    ):
        text = "".join(task.spell(int(token)) for token in tokens)
        word = text[1 : length + 1]
        assert text == f"${word}|{word}"
        assert set(word) <= set("abcdefghijklmnopqrstuvwxyz")
        assert "".join(task.spell(int(token)) for token in targets) == f"{word}."
        assert text[positions[0]] == "|"  # where the first letter is predicted
        assert positions.tolist() == list(range(length + 1, 2 * length + 2))


def test_all_letters_are_equally_likely_everywhere() -> None:
    letters = Copy(min_length=3, max_length=3).sample(26_000, seed=0).inputs[:, 1:4]
    for place in range(3):
        counts = letters[:, place].bincount(minlength=26)
        assert ((counts - 1000).abs() < 160).all()


def test_a_range_of_lengths_has_a_component_for_each() -> None:
    task = Copy(min_length=2, max_length=4)
    assert [c.max_len for c in task.components] == [6, 8, 10]
    assert {task.sample(1, seed).inputs.shape[1] for seed in range(30)} == {6, 8, 10}
    assert task.max_len == 10
    assert task.label == "copy-2to4"
    assert task.components[0].label == "copy-2"
    # accuracy is over all answers, of which longer strings have more
    answers = [component.sample(1, seed=0).targets.numel() for component in task.components]
    right = sum(c.chance * n for c, n in zip(task.components, answers, strict=True))
    assert task.chance == pytest.approx(right / sum(answers))
    # the first of two letters; the other one and the end mark are certain
    assert task.components[0].chance == pytest.approx((best_guess(2, 26) + 1 + 1) / 3)


def test_the_roles_of_a_copy() -> None:
    task = Copy(min_length=2, max_length=5)
    for seed in range(5):
        batch = task.sample(2, seed)
        length = batch.inputs.shape[1] // 2 - 1
        roles = [list(Role)[int(i)] for i in task.roles(batch)[1]]
        string, copy = [Role.VALUE] * length, [Role.QUERY] * length
        assert roles == [Role.MARK, *string, Role.MARK, *copy]


def test_copying_explains_an_empty_range() -> None:
    with pytest.raises(UserError, match="min_length=30 exceeds max_length=20: expected"):
        Copy(min_length=30)


def test_a_batch_refuses_positions_without_a_target() -> None:
    inputs, positions = torch.zeros(2, 8, dtype=torch.long), torch.tensor([[3, 5], [4, 6]])
    Batch(inputs, positions, targets=positions)
    message = r"targets of shape \(2, 1\), supervised positions of shape \(2, 2\): expected one"
    with pytest.raises(UserError, match=message):
        Batch(inputs, positions, targets=positions[:, :1])
