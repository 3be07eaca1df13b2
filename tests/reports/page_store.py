"""A store of results that nobody had to train."""

import math
from collections.abc import Sequence
from itertools import product
from pathlib import Path

import recollect as rc
from recollect.studies.cell import Cell
from recollect.studies.store import Store
from recollect.training.result import Metrics, Record, TrialResult

HOSTILE = "</script><img src=x onerror=alert(1)>"
NAME = "made <b>up</b>"
RATES = tuple(10 ** (-4 + i / 2) for i in range(5))
STEPS = 400


def made_study(
    mixers: Sequence[str] = ("attention", "mamba", "hyena"),
    widths: Sequence[int] = (32, 64),
    seeds: Sequence[int] = (1, 2),
) -> rc.Study:
    return rc.Study(
        NAME,
        tasks=[rc.MQAR(seq_len=64, num_kv_pairs=4), rc.MQAR(seq_len=128, num_kv_pairs=8)],
        models=rc.models_grid(mixers, d_model=widths, n_layers=[1]),
        train=rc.TrainConfig(steps=STEPS, eval_every=STEPS // 4),
        search=rc.FixedGrid(rates=RATES),
        seeds=seeds,
    )


def make_store(path: Path, study: rc.Study | None = None) -> None:
    """The results of a study, in which Hyena learns nothing, wider models recall more, and the
    rates near 3e-3 are the best. The mixer attention has a hostile label."""
    study = study or made_study()
    labels = {"attention": HOSTILE}
    cells = [cell.replace(mixer=labels.get(cell.mixer, cell.mixer)) for cell in study.cells()]
    with Store(path) as store:
        store.record_study(study.name, "made", cells)
        for cell, rate, seed in product(cells, RATES, study.seeds):
            reached = 1 - 4 / cell.d_model - (math.log10(rate) + 2.5) ** 2 / 4 - seed % 10 / 1000
            shares = {HOSTILE: 1.0, "hyena": 0.0}
            accuracy = max(shares.get(cell.mixer, 0.9) * reached, cell.chance)
            store.save(cell, rate, seed, _result(cell, accuracy))


def _result(cell: Cell, accuracy: float) -> TrialResult:
    steps = range(STEPS // 4, STEPS + 1, STEPS // 4)
    history = tuple(
        Record(step, 1e-3, 9 - step / 100, _metrics(accuracy * step / STEPS), step / 100)
        for step in steps
    )
    test = {label: _metrics(accuracy) for label in (cell.task, *cell.test_labels)}
    parameters = 1000 * cell.d_model
    return TrialResult(None, "complete", STEPS, history, test, parameters, "cpu", 4.0)


def _metrics(accuracy: float) -> Metrics:
    return Metrics(loss=9 * (1 - accuracy), accuracy=accuracy, example_accuracy=accuracy**2)
