"""Checks on a GPU: results equal to the CPU's, populations equal to single trials, and a study."""

from __future__ import annotations

import json
import subprocess
import sys
import time
import warnings
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from torch import Tensor

from recollect.bench.gpu_place import GpuPlace, Line
from recollect.mixers.catalogue import MIXERS, mixer
from recollect.mixers.patterns import PATTERNS
from recollect.models.config import ModelConfig
from recollect.models.language_model import LanguageModel
from recollect.ops.dropout import dropout_masks, key_words
from recollect.tasks.batch import Batch
from recollect.tasks.mqar import MQAR
from recollect.tensors import cast
from recollect.training.config import Seeds, TrainConfig, TrialConfig
from recollect.training.population import run_population
from recollect.training.precision import mixed_precision
from recollect.training.trial import run_trial

QUICK = ("attention", "sliding-window", "hyena")
OPTIONS: dict[str, dict[str, Any]] = {
    "sliding-window by blocks": {"mixer": mixer("sliding-window", window=8)},
    "attention, heads and rope": {"mixer": mixer("attention", n_heads=2), "positions": "rope"},
    "attention, dropout": {"mixer": mixer("attention", dropout=0.2), "dropout": 0.1},
    "h3, zoology": {"mixer": mixer("h3", d_state=None, head_dim=2)},
    "mamba, mlp": {"mixer": "mamba", "mlp": "gelu", "norm": "rmsnorm"},
}
"""Options that the catalogue's defaults do not cover."""
EXACT, ROUNDED, HALF = 1e-8, 1e-3, 0.1
"""Largest allowed differences in float64, in float32, and of the loss in bfloat16, relative to the
largest number of a tensor."""


def numerics(place: GpuPlace) -> Iterator[Line]:
    """Compare loss, gradients and logits of each architecture with float64 on the CPU, and decoding
    token by token with the parallel form."""
    models = _models(place.quick)
    task = MQAR(seq_len=24 if place.quick else 80, num_kv_pairs=4, vocab_size=96)
    batch = task.sample(3, 0)

    def measure(model: str) -> Line:
        config = models[model]
        exact = _numbers(_perturbed(config, task, torch.float64), batch, torch.device("cpu"))
        double = _perturbed(config, task, torch.float64)
        single = _perturbed(config, task, torch.float32)
        line: Line = {
            "float64": _distance(_numbers(double, batch, place.device), exact),
            "float32": _distance(_numbers(single, batch, place.device), exact),
            "decoding": _decoding(double, batch),
        }
        half = _loss(single, batch.to(place.device), TrainConfig(dtype="bfloat16"))
        line["bfloat16"] = abs(half.item() - exact[0].item()) / exact[0].item()
        bounds = {"float64": EXACT, "decoding": EXACT, "float32": ROUNDED, "bfloat16": HALF}
        return {**line, "ok": all(line[name] < bound for name, bound in bounds.items())}

    yield from place.each(({"model": name} for name in models), measure)


def population(place: GpuPlace) -> Iterator[Line]:
    """Compare the parameters of three trials trained together with those of each trained alone, and
    check that a repeated trial is equal to the bit."""
    models, on_gpu = _models(place.quick), place.device.type == "cuda"

    def measure(model: str, dtype: str) -> Line:
        configs = _trials(models[model], dtype)
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            together = dict(run_population(configs, device=str(place.device)))
        alone = [run_trial(config, device=str(place.device)) for config in configs]
        twice = run_trial(configs[0], device=str(place.device))
        distance = max(
            _distance(_parameters(together[i].model), _parameters(result.model))
            for i, result in enumerate(alone)
        )
        messages = sorted({str(each.message).splitlines()[0] for each in caught})
        as_one = not any("one model at a time" in each for each in messages)
        first = zip(_parameters(alone[0].model), _parameters(twice.model), strict=True)
        captured = on_gpu and not any("CUDA graphs" in each for each in messages)
        bound = EXACT if dtype == "float64" else 10 * ROUNDED
        return {
            "distance": distance,
            "as_one": as_one,
            "captured": captured,
            "same_twice": all(torch.equal(a, b) for a, b in first),
            "warnings": messages,
            "ok": as_one and captured == on_gpu and distance < bound,
        }

    items = ({"model": name, "dtype": dtype} for dtype in ("float64", "float32") for name in models)
    yield from place.each(items, measure)


STUDY = """
import recollect as rc

def small(scale):
    return rc.Study(
        "small",
        tasks=[rc.MQAR(seq_len=SEQ_LEN, num_kv_pairs=2, vocab_size=64)],
        models=rc.models_grid(["attention", "gla"], d_model=[32]),
        train=rc.TrainConfig(steps=STEPS, batch_size=64, eval_every=50, valid_examples=200,
                             test_examples=500),
        search=rc.FixedGrid(rates=[1e-3, 3e-3, 1e-2]),
        seeds=(1, 2),
    )
"""


def study(place: GpuPlace) -> Iterator[Line]:
    """Run `recollect run` completely: trials together, one at a time, and again with all trials
    stored."""
    sizes = ("8", "20") if place.quick else ("32", "400")
    with TemporaryDirectory() as folder:
        here = Path(folder)
        source = STUDY.replace("SEQ_LEN", sizes[0]).replace("STEPS", sizes[1])
        (here / "small.py").write_text(source)
        on_cpu = ["--workers", "0"] if place.device.type == "cpu" else []
        run = ["run", "small.py:small", "--device", str(place.device), *on_cpu, "--json"]

        def measure(command: str) -> Line:
            words = {
                "as one": [*run, "--store", "one.db", "--population", "64"],
                "as one, again": [*run, "--store", "one.db", "--population", "64"],
                "one by one": [*run, "--store", "other.db", "--population", "1"],
            }[command]
            began = time.monotonic()
            done = subprocess.run(
                [sys.executable, "-m", "recollect.cli", *words],
                cwd=here,
                capture_output=True,
                text=True,
                timeout=max(1.0, place.left),
                check=False,
            )
            seconds = time.monotonic() - began
            line: Line = {"seconds": seconds, "ok": done.returncode == 0}
            if done.returncode:
                return {**line, "stderr": done.stderr[-500:]}
            trials = 12
            return {**line, "trials_per_hour": 3600 * trials / seconds, "rows": _rows(done.stdout)}

        commands = ("as one", "as one, again", "one by one")
        yield from place.each(({"command": each} for each in commands), measure)


def _models(quick: bool) -> dict[str, ModelConfig]:
    """All architectures of the catalogue at width 32, and those of `OPTIONS`."""
    plain: dict[str, dict[str, Any]] = {name: {"mixer": name} for name in (*MIXERS, *PATTERNS)}
    chosen = {name: plain[name] for name in QUICK} if quick else plain | OPTIONS
    return {name: ModelConfig(d_model=32, **given) for name, given in chosen.items()}


def _perturbed(config: ModelConfig, task: MQAR, dtype: torch.dtype) -> LanguageModel:
    """A model with small random numbers added, since some mixers' output maps start at zero."""
    model = config.build(task, seed=1)
    generator = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for p in model.parameters():
            p.add_(torch.randn(p.shape, generator=generator), alpha=0.05)
    return cast(model, dtype)


def _loss(model: LanguageModel, batch: Batch, train: TrainConfig) -> Tensor:
    """The training loss, with the same dropout masks on every device."""
    model.train()
    with mixed_precision(train, batch.inputs.device), dropout_masks(key_words(3)):
        return model.loss(batch.inputs, batch.positions, batch.targets)


def _numbers(model: LanguageModel, batch: Batch, device: torch.device) -> list[Tensor]:
    """Move a model to the device; returns loss, gradients and logits."""
    there = batch.to(device)
    loss = _loss(model.to(device), there, TrainConfig())
    gradients = torch.autograd.grad(loss, list(model.parameters()))
    with torch.no_grad():
        logits = model.eval()(there.inputs, there.positions)
    return [x.detach().cpu().double() for x in (loss, *gradients, logits)]


def _distance(ours: list[Tensor], theirs: list[Tensor]) -> float:
    """The largest difference relative to the largest number of its tensor.

    For tensors of small numbers, it is relative to a thousandth of the largest number of all.
    """
    largest = max(x.abs().max().item() for x in theirs)
    differences = (
        (a - b).abs().max().item() / max(b.abs().max().item(), 1e-3 * largest)
        for a, b in zip(ours, theirs, strict=True)
    )
    return max(differences)


@torch.no_grad()
def _decoding(model: LanguageModel, batch: Batch) -> float:
    """The distance between logits of decoding and of the parallel form."""
    tokens = batch.inputs[:, :20].to(model.head.weight.device)
    state, found = model.eval().initial_state(len(tokens)), []
    for token in tokens.unbind(1):
        logits, state = model.step(token, state)
        found.append(logits)
    return _distance([torch.stack(found, 1).cpu()], [model(tokens).cpu()])


def _trials(model: ModelConfig, dtype: Any) -> list[TrialConfig]:
    """Three trials that differ in everything that trials trained together may differ in.

    AdamW is for float64: it makes full steps of gradients near zero, whose sign may be a matter of
    rounding.
    """
    optimizer, scale = ("adamw", 1) if dtype == "float64" else ("sgd", 30)
    train = TrainConfig(
        steps=8,
        batch_size=4,
        eval_every=4,
        valid_examples=8,
        test_examples=8,
        dtype=dtype,
        optimizer=optimizer,
    )
    return [
        TrialConfig(
            task=MQAR(seq_len=16, num_kv_pairs=2, vocab_size=64),
            model=model,
            train=train.replace(learning_rate=scale * rate, weight_decay=decay, grad_clip=1.0),
            seeds=Seeds.of(seed),
        )
        for seed, rate, decay in ((42, 3e-3, 0.1), (42, 1e-2, 0.0), (7, 1e-2, 1.0))
    ]


def _parameters(model: LanguageModel | None) -> list[Tensor]:
    assert model is not None
    return [p.detach().cpu().double() for p in model.parameters()]


def _rows(text: str) -> list[Any]:
    """The rows of the table that the command printed as JSON."""
    found = json.loads(text)
    rows = (
        found if isinstance(found, list) else next(v for v in found.values() if isinstance(v, list))
    )
    names = ("mixer", "learning_rate", "test_accuracy", "steps")
    return [{name: row.get(name) for name in names} for row in rows]
