"""A user's module: a mixer and a study of one's own."""

import multiprocessing
from pathlib import Path

from small import RACE, TRAIN, small_study
from torch import Tensor, nn

from recollect.studies.events import Event, TrialRecorded, TrialStarted
from recollect.studies.runner import run_study
from recollect.studies.store import Store


class Sum(nn.Module):
    """The mean of the past."""

    def __init__(self, d_model: int) -> None:
        super().__init__()
        self.linear = nn.Linear(d_model, d_model)

    def forward(self, x: Tensor) -> Tensor:
        return self.linear(x.cumsum(dim=1))


def main(path: Path, log: Path, workers: int, observe: bool = False) -> None:
    """Run the study. Every trial that is started is a line of the log; so is the number of every
    worker process."""
    lines = Path(log).open("a", buffering=1)  # noqa: SIM115

    def on_event(event: Event) -> None:
        if isinstance(event, TrialStarted):
            lines.write(f"trial {event.cell.label} {event.request}\n")
        if isinstance(event, TrialRecorded):
            lines.writelines(f"worker {p.pid}\n" for p in multiprocessing.active_children())

    train = TRAIN.replace(steps=20)
    study = small_study([Sum, "attention"], search=RACE, train=train, observe=observe)
    with Store(path) as store:
        run_study(study, store, workers=workers, device="cpu", on_event=on_event)
