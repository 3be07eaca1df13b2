"""The 66 settings of MAD's six tasks (Poli et al., 2024, arXiv 2403.17844; athms/mad-lab,
`configs/tasks/*.yml` and `mad/configs.py`).

Each task has a baseline, and variations that change one setting. MAD trains each for 200 epochs in
batches of 128, at three learning rates with and without weight decay, and tests on 1,280 examples.
Selective copying has the default `gaps="all"`; `gaps="before"` is that of the public code. The
suite `mad` (`suites.mad`) trains on these settings, and says what differs from MAD's protocol.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from recollect.tasks.task import Task, task

EPOCHS, BATCH_SIZE, TEST_EXAMPLES = 200, 128, 1280
LEARNING_RATES = (1e-4, 5e-4, 1e-3)


@dataclass(frozen=True)
class Setting:
    """A task and its training set.

    Attributes:
        task: the task.
        train_examples: number of examples in the fixed training set.
    """

    task: Task
    train_examples: int

    @property
    def steps(self) -> int:
        """Number of training steps in MAD."""
        return EPOCHS * -(-self.train_examples // BATCH_SIZE)


VOCABULARIES, LENGTHS = (32, 64, 128), (256, 512, 1024)
EXAMPLES = {"train_examples": (6400, 3200, 1600, 800)}
USUAL = {"vocab_size": VOCABULARIES, "seq_len": LENGTHS, **EXAMPLES}
BASELINE_EXAMPLES = 12_800

BASELINES: Mapping[str, Mapping[str, Any]] = {
    "in-context-recall": {"vocab_size": 16, "seq_len": 128},
    "noisy-in-context-recall": {
        "vocab_size": 32,
        "seq_len": 128,
        "noise_vocab_size": 16,
        "frac_noise": 0.2,
    },
    "fuzzy-in-context-recall": {"vocab_size": 16, "seq_len": 128},
    "selective-copying": {"vocab_size": 16, "seq_len": 256, "num_tokens": 16},
    "compression": {"vocab_size": 16, "seq_len": 32},
    "memorization": {"vocab_size": 256, "seq_len": 32, "train_examples": 256},
}
VARIATIONS: Mapping[str, Mapping[str, Sequence[Any]]] = {
    "in-context-recall": USUAL,
    "noisy-in-context-recall": {
        **USUAL,
        "vocab_size": (48, 80, 144),  # including 16 tokens of noise
        "frac_noise": (0.4, 0.6, 0.8),
    },
    "fuzzy-in-context-recall": USUAL,
    "selective-copying": {**USUAL, "seq_len": (512, 1024), "num_tokens": (32, 64, 96)},
    "compression": {**USUAL, "seq_len": (64, 128, 256)},
    "memorization": {"vocab_size": (512, 1024, 2048, 4096, 8192)},
}
CATALOGUED = {"noisy-in-context-recall": "in-context-recall"}
"""The name of a task in the catalogue, if it differs from MAD's."""


def mad_settings() -> dict[str, tuple[Setting, ...]]:
    """Return the settings of each task by MAD's names, the baseline first."""
    return {name: tuple(_settings(name)) for name in BASELINES}


def _settings(name: str) -> Iterator[Setting]:
    baseline = {"train_examples": BASELINE_EXAMPLES, **BASELINES[name]}
    changes = [{}, *({key: value} for key, values in VARIATIONS[name].items() for value in values)]
    for change in changes:
        values = baseline | change
        examples = values.pop("train_examples")
        yield Setting(task(CATALOGUED.get(name, name), **values), examples)
