"""docs/tasks.md has a row for every task, and its example is Based's protocol."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from recollect.tasks.task import TASKS
from recollect.training.config import TrainConfig, TrialConfig
from recollect.training.data import held_out

DOCUMENT = (Path(__file__).parents[2] / "docs" / "tasks.md").read_text(encoding="utf-8")


def test_every_task_has_a_row() -> None:
    ours = {name for name in TASKS if TASKS[name].__module__.startswith("recollect.")}
    rows = set(re.findall(r"^\| `([\w-]+)` \|", DOCUMENT, re.MULTILINE))
    assert rows == ours, "give each task a row in docs/tasks.md"


def test_the_example_divides_and_tests_as_based_does() -> None:
    (block,) = re.findall(r"```python\n(.*?)```", DOCUMENT, re.DOTALL)
    made: dict[str, Any] = {}
    exec(block, made)
    train = TrainConfig(train_examples=180)
    trial = TrialConfig(
        task=made["based"],
        test_tasks=made["cells"],
        model={"mixer": "mamba", "d_model": 64},
        train=train,
    )
    assert trial.max_len == 1024
    sets = held_out(trial.task, 180, trial.seeds, "train")
    assert [len(examples) for examples in sets] == [100, 20, 20, 20, 20]
