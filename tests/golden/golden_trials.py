"""Small trials and their losses in float64, as `losses.json` keeps them.

    python tests/golden/golden_trials.py

adds trials that are new and drops those that are gone. It refuses to change the losses of a trial
whose key is as before: raise a numerics version first (see `RAISE`).
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypedDict

import torch

from recollect.mixers.catalogue import MIXERS, mixer
from recollect.mixers.patterns import PATTERNS
from recollect.models.config import ModelConfig
from recollect.models.init import Init
from recollect.tasks.associative_recall import AssociativeRecall
from recollect.tasks.copying import Copy
from recollect.tasks.mqar import MQAR
from recollect.training.config import Seeds, TrainConfig, TrialConfig
from recollect.training.trial import run_trial

PATH = Path(__file__).with_name("losses.json")
REMAKE = "remake the file with `python tests/golden/golden_trials.py`"
RAISE = (
    "raise `numerics` of the mixer or task, or NUMERICS in training/config.py where all trials"
    f" are concerned, and {REMAKE}"
)
TOLERANCE = 1e-9
"""Relative. Other instruction sets and numbers of threads change about 1e-14."""
STEPS = (0, 1, 20)
"""The updates before each loss."""

TASK = MQAR(seq_len=70, num_kv_pairs=8, vocab_size=80)  # past the chunks of the fast forms
TRAIN = TrainConfig(
    learning_rate=1e-3,
    steps=STEPS[-1] + 1,
    batch_size=4,
    train_examples=4,  # one batch, seen at every step
    valid_examples=1,
    test_examples=1,
    eval_every=1,
    stop_accuracy=None,
    dtype="float64",
)

RECIPE = {"d_model": 8, "init": Init(std=0.3)}
"""Weights so large that losses depend visibly on what the mixers do."""

OPTIONS = {
    "attention": {"n_heads": 2, "qkv_conv": 3, "window": 5, "bias": False},
    "base-conv": {"kernel_size": 12},
    "h3": {"d_state": None, "head_dim": 2},
    "hyena": {"emb_dim": 5, "short_filter_order": 1},
    "input-dependent-conv": {"kernel_size": 1, "filler": None},
    "mla": {"n_heads": 2, "rotated": False},
    "rg-lru": {"lru_width": 16, "d_conv": 2, "n_blocks": 4},
}
SELECTIONS = ("learned", "random", "all")
SURROUNDINGS = {
    "gelu": {"mlp": "gelu", "short_conv": 3, "tie_embedding": False},
    "swiglu": {"mlp": "swiglu", "norm": "rmsnorm", "positions": "rope"},
    "default init": {"positions": None, "init": Init()},
    "no rescaling": {"init": Init(std=0.3, rescale_residual=False)},
}
OPTIMISERS = {
    "constant": {"schedule": "constant"},
    "no warm-up": {"warmup": 0.0},
    "warm-up": {"warmup": 1.0},
    "no decay": {"weight_decay": 0.0},
    "decay": {"weight_decay": 1.0},
    "betas": {"betas": (0.8, 0.95)},
    "clipped": {"grad_clip": 0.1},
    "rate": {"learning_rate": 1e-2},
    "new examples": {"train_examples": None},
    "epochs": {"train_examples": 10, "schedule_unit": "epoch", "warmup": 0.0},
    "linear": {"schedule": "linear"},
    "wsd": {"schedule": "wsd"},
    "sgd": {"optimizer": "sgd", "learning_rate": 1e-2},
    "schedule-free": {"optimizer": "schedule-free", "schedule": "constant"},
}
"""Not those that round on purpose: Lion takes signs, and Muon computes in bfloat16."""
TASKS = {
    "random filler": TASK.replace(filler="random"),
    "ar": AssociativeRecall(),
    "copy": Copy(min_length=4, max_length=8),
}


class Entry(TypedDict):
    """What the file says of a trial: its key, and its losses after each of `STEPS`."""

    key: str
    losses: list[float]


def trials() -> dict[str, TrialConfig]:
    """Every mixer and pattern, and every setting of model, optimiser and data on one of them."""
    return {
        **{name: _trial(mixer=name) for name in (*MIXERS, *PATTERNS)},
        **{f"{name}, options": _trial(mixer=mixer(name, **o)) for name, o in OPTIONS.items()},
        **{
            f"sparse-attention, {selection}": _trial(
                mixer=mixer("sparse-attention", selection=selection)
            )
            for selection in SELECTIONS
        },
        **{f"model, {name}": _trial(mixer="attention", **o) for name, o in SURROUNDINGS.items()},
        **{
            f"optimiser, {name}": _trial(mixer="mamba").replace(train=TRAIN.replace(**changes))
            for name, changes in OPTIMISERS.items()
        },
        **{
            f"task, {name}": _trial(mixer="gla").replace(task=task, seeds=Seeds.of(7))
            for name, task in TASKS.items()
        },
    }


def losses(config: TrialConfig) -> list[float]:
    """The training losses of a trial after each of `STEPS`, without its validations, which change
    no loss."""
    found: list[float] = []
    unvalidated = config.replace(train=config.train.replace(eval_every=config.train.steps))
    with _drawing_in_float64():
        run_trial(unvalidated, on_step=lambda _model, _step, loss: found.append(loss))
    return [found[step] for step in STEPS]


def read() -> dict[str, Entry]:
    """The file."""
    return json.loads(PATH.read_text()) if PATH.exists() else {}


def agree(ours: list[float], theirs: list[float]) -> bool:
    """Whether losses are the same but for rounding."""
    pairs = zip(ours, theirs, strict=True)
    return all(abs(a - b) <= TOLERANCE * abs(b) for a, b in pairs)


def make() -> None:
    """Write the file."""
    before = read()
    entries = {name: _entry(config, before.get(name)) for name, config in trials().items()}
    changed = [
        name
        for name, entry in entries.items()
        if name in before
        and entry["key"] == before[name]["key"]
        and not agree(entry["losses"], before[name]["losses"])
    ]
    if changed:
        raise SystemExit(f"{', '.join(changed)}: other losses under the same key; {RAISE}")
    PATH.write_text(json.dumps(entries, indent=1) + "\n")


def _trial(**model: object) -> TrialConfig:
    return TrialConfig(task=TASK, model=ModelConfig(**(RECIPE | model)), train=TRAIN)


def _entry(config: TrialConfig, before: Entry | None) -> Entry:
    """A trial's entry; the one before, to the digit, where only the rounding differs."""
    entry: Entry = {"key": config.key, "losses": losses(config)}
    if before and before["key"] == entry["key"] and agree(entry["losses"], before["losses"]):
        return before
    return entry


@contextmanager
def _drawing_in_float64() -> Iterator[None]:
    """Draw initial weights in float64: processors round float32 draws differently, by 1e-7."""
    default = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    try:
        yield
    finally:
        torch.set_default_dtype(default)


if __name__ == "__main__":
    make()
