"""The events of one trial of a study that nobody trains."""

from recollect.studies.cell import Cell
from recollect.studies.events import (
    CellDone,
    Event,
    StudyStarted,
    TrialEnded,
    TrialRaised,
    TrialRecorded,
    TrialStarted,
)
from recollect.studies.grid import models_grid
from recollect.studies.replay import Request
from recollect.studies.search import FixedGrid
from recollect.studies.study import Study
from recollect.tasks.mqar import MQAR
from recollect.training.config import TrainConfig
from recollect.training.result import Metrics, Record, TrialResult

TASK = MQAR(seq_len=16, num_kv_pairs=2, vocab_size=64)
EVERY, STEPS, RATE = 100, 800, 3e-3


def cell() -> Cell:
    study = Study(
        "made",
        tasks=[TASK],
        models=models_grid(["attention"], d_model=[8]),
        train=TrainConfig(steps=STEPS, eval_every=EVERY),
        search=FixedGrid(rates=(RATE,)),
    )
    return study.cells()[0]


CELL = cell()


def record(step: int) -> Record:
    valid = Metrics(loss=1 / step, accuracy=step / STEPS, example_accuracy=step / STEPS / 2)
    return Record(step=step, learning_rate=RATE, train_loss=2 / step, valid=valid, seconds=1.0)


def request(until: int | None = None, seed: int = 1) -> Request:
    return Request(RATE, seed, until)


def started(until: int | None = None, seed: int = 1) -> list[Event]:
    return [TrialStarted(CELL, request(until, seed))]


def recorded(first: int, last: int, seed: int = 1) -> list[Event]:
    steps = range(first, last + 1, EVERY)
    return [TrialRecorded(CELL, request(seed=seed), record(step)) for step in steps]


def ended(step: int = STEPS, status: str = "complete", seed: int = 1) -> list[Event]:
    test = Metrics(loss=0.5, accuracy=0.875, example_accuracy=0.75)
    result = TrialResult(
        key=CELL.key(RATE, seed),
        status=status,
        step=step,
        history=tuple(record(at) for at in range(EVERY, step + 1, EVERY)),
        test={TASK.label: test} if status == "complete" else {},
        parameters=1234,
        device="cpu",
        seconds=2.5,
    )
    until = step if status == "stopped" else None
    return [TrialEnded(CELL, request(until, seed), result, seconds_left=None)]


def raised(again: bool) -> list[Event]:
    return [TrialRaised(CELL, request(), "a bug of the mixer", again)]


STUDY_STARTED = StudyStarted(cells=1, done=0, workers=0)
CELL_DONE = CellDone(
    CELL,
    learning_rate=RATE,
    accuracy=1.0,
    learnt=True,
    learnt_searching=0,
    rates=(RATE, RATE),
    done=1,
    cells=1,
)
