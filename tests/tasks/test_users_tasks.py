"""Tasks of users: what is refused before a number is wrong."""

from collections.abc import Callable
from typing import ClassVar

import pytest
import torch

import recollect as rc
from recollect.errors import UserError
from recollect.models.config import ModelConfig
from recollect.tasks.batch import Batch
from recollect.tasks.mixture import Mixture
from recollect.tasks.mqar import MQAR
from recollect.tasks.task import TASKS, Task, register_task
from recollect.training.config import TrainConfig

MODEL = ModelConfig(mixer="linear-attention", d_model=8, n_layers=1)
TRAIN = TrainConfig(steps=1, batch_size=2, valid_examples=2, test_examples=2)
SOUND = MQAR(seq_len=8, num_kv_pairs=2, vocab_size=16)


class UsersTask(Task):
    """What the tasks below have in common."""

    vocab_size: int = 16
    max_len: ClassVar[int] = 8  # type: ignore[misc]
    chance: ClassVar[float] = 0.1  # type: ignore[misc]


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"positions": [[8]]}, "positions from 8 to 8, expected 0 to 7"),
        ({"positions": [[-1]]}, "positions from -1 to -1"),
        ({"positions": [[6, 2]], "targets": [[1, 2]]}, "positions do not ascend"),
        ({"positions": [[6, 6]], "targets": [[1, 2]]}, "positions do not ascend"),
        ({"targets": [[16]]}, "targets from 16 to 16, expected 0 to 15"),
        ({"targets": [[-100]]}, "targets from -100"),
        ({"targets": [[0.5]]}, "targets of torch.float32, expected torch.int64"),
        ({"inputs": [[16] * 8]}, "inputs from 16 to 16"),
        ({"inputs": [[1] * 9]}, "inputs of 9 tokens, but max_len is 8"),
    ],
)
@pytest.mark.parametrize("only_in_training", [True, False])
def test_examples_that_do_not_exist_are_refused(
    changed: dict[str, list[list[float]]], message: str, only_in_training: bool
) -> None:
    """A position beyond the end would be read from whatever lies there in memory."""

    class Odd(UsersTask):
        label: ClassVar[str] = "odd"  # type: ignore[misc]

        def split(self, name: str) -> Task:
            sound = only_in_training and name != "train"
            return SOUND if sound else self

        def sample(self, n: int, seed: int) -> Batch:
            rows = {"inputs": [[seed % 7] * 8], "positions": [[7]], "targets": [[1]]} | changed
            return Batch.of({key: torch.tensor(row).expand(n, -1) for key, row in rows.items()})

    with pytest.raises(UserError, match=f"task odd: .*{message}"):
        rc.train(MODEL, Odd(), TRAIN, seed=1)


def test_a_task_must_return_as_many_examples_as_asked_for() -> None:
    """The table says so many examples per step and in validation and test."""

    class Fewer(UsersTask):
        label: ClassVar[str] = "fewer"  # type: ignore[misc]
        lacking: str = "inputs"

        def sample(self, n: int, seed: int) -> Batch:
            inputs = torch.randint(16, (n, 8), generator=torch.Generator().manual_seed(seed))
            batch = Batch(inputs, torch.full((n, 1), 7), inputs[:, :1])
            if self.lacking == "inputs":
                return Batch(batch.inputs[1:], batch.positions, batch.targets)
            return batch[1:]

    for lacking in ("inputs", "all"):
        message = (
            r"task fewer: sample\(16, seed\) returns inputs of shape \(15, 8\), .* with 16 rows"
        )
        with pytest.raises(UserError, match=message):
            rc.train(MODEL, Fewer(lacking=lacking), TRAIN, seed=1)
        study = rc.Study("sound", tasks=SOUND, models=MODEL, test_tasks=Fewer(lacking=lacking))
        with pytest.raises(UserError, match=message):
            study.check()


def test_examples_of_further_test_tasks_are_checked_before_training() -> None:
    """Otherwise they would be drawn for the first time when a model is trained."""

    class Late(UsersTask):
        label: ClassVar[str] = "late"  # type: ignore[misc]

        def sample(self, n: int, seed: int) -> Batch:  # noqa: ARG002
            inputs = torch.randint(16, (n, 8))
            return Batch(inputs, None, inputs)

    records: list[object] = []
    with pytest.raises(UserError, match=r"task late: .* gives other examples"):
        rc.train(MODEL, SOUND, TRAIN, test_tasks=[Late()], on_record=records.append)
    assert records == []


@pytest.mark.parametrize(
    ("draw", "message"),
    [
        (lambda _: None, "gives other examples when it is called again"),
        (lambda _: torch.Generator().manual_seed(0), "gives the same examples for every seed"),
    ],
)
def test_the_seed_must_determine_the_examples_of_a_users_task(
    draw: Callable[[int], torch.Generator | None], message: str
) -> None:
    class Loose(UsersTask):
        label: ClassVar[str] = "loose"  # type: ignore[misc]

        def sample(self, n: int, seed: int) -> Batch:
            inputs = torch.randint(16, (n, 8), generator=draw(seed))
            return Batch(inputs, torch.full((n, 1), 7), inputs[:, :1])

    for task in (Loose(), Mixture(tasks=(Loose(), SOUND))):
        with pytest.raises(UserError, match=rf"task loose: sample\(16, seed\) {message}"):
            rc.train(MODEL, task, TRAIN, seed=1)


def test_a_task_that_lacks_something_cannot_be_registered() -> None:
    class Half(Task):
        label: ClassVar[str] = "half"  # type: ignore[misc]
        vocab_size: int = 16

    message = "task half: Half does not define max_len, chance, sample"
    with pytest.raises(UserError, match=message):
        register_task("half")(Half)
    assert "half" not in TASKS


def test_a_study_needs_the_registered_name_of_a_task() -> None:
    """Results are stored under it, and other processes find the task by it."""

    class Nameless(UsersTask):
        label: ClassVar[str] = "nameless"  # type: ignore[misc]

        def sample(self, n: int, seed: int) -> Batch:
            inputs = torch.randint(16, (n, 8), generator=torch.Generator().manual_seed(seed))
            return Batch(inputs, torch.full((n, 1), 7), inputs[:, :1])

    for tasks in ({"tasks": Nameless()}, {"tasks": SOUND, "test_tasks": Nameless()}):
        with pytest.raises(UserError, match=r"Nameless is not registered.*@rc.register_task"):
            rc.Study("nameless", models=MODEL, **tasks).check()


def test_a_study_needs_a_name_for_each_class(monkeypatch: pytest.MonkeyPatch) -> None:
    """A class without a name of its own would be read back as its base."""
    monkeypatch.setattr(TASKS, "_entries", {**TASKS._entries})  # other tests see no new task

    @register_task("base-of-others")
    class Base(UsersTask):
        label: str = "base"

        def sample(self, n: int, seed: int) -> Batch:
            inputs = torch.randint(16, (n, 8), generator=torch.Generator().manual_seed(seed))
            return Batch(inputs, torch.full((n, 1), 7), inputs[:, :1])

    class Forgotten(Base):
        label: str = "forgotten"

    class Mine(MQAR):
        pass

    mine = Mine(seq_len=8, num_kv_pairs=2, vocab_size=16)
    for task in (Forgotten(), mine, Mixture(tasks=(SOUND, Forgotten()))):
        with pytest.raises(UserError, match="is not registered under a name of its own"):
            rc.Study("forgotten", tasks=task, models=MODEL).check()
    rc.Study("base", tasks=Base(), models=MODEL).check()


@pytest.mark.parametrize(
    ("returned", "message"),
    [
        (lambda inputs: (inputs, None, inputs), "returns tuple, expected an rc.Batch"),
        (lambda _: None, "returns NoneType, expected an rc.Batch"),
        (lambda inputs: Batch(inputs.tolist(), None, inputs), "inputs of list, expected a torch"),
        (lambda inputs: Batch(inputs[0], None, inputs[0]), "expected two dimensions, with 16 rows"),
    ],
)
def test_anything_but_a_batch_is_refused(
    returned: Callable[[torch.Tensor], Batch], message: str
) -> None:
    class Other(UsersTask):
        label: ClassVar[str] = "other"  # type: ignore[misc]

        def sample(self, n: int, seed: int) -> Batch:
            generator = torch.Generator().manual_seed(seed)
            return returned(torch.randint(16, (n, 8), generator=generator))

    with pytest.raises(UserError, match=message):
        rc.train(MODEL, Other(), TRAIN, seed=1)
