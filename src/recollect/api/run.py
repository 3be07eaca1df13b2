"""Running a study from Python, and loading what it has trained."""

from __future__ import annotations

import warnings
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console

from recollect.api.results import Results
from recollect.errors import UserError
from recollect.execution.places import executor_options
from recollect.files import make_folder
from recollect.reports.progress import display
from recollect.studies.listeners import all_of, harmless
from recollect.studies.part import as_part
from recollect.studies.runner import run_study
from recollect.studies.store import Store
from recollect.studies.study import Study
from recollect.tracking.trackers import tracking
from recollect.training.checkpoint import load_weights
from recollect.training.config import TrialConfig

if TYPE_CHECKING:
    from recollect.models.language_model import LanguageModel
    from recollect.studies.events import OnEvent


def run(
    study: Study,
    *,
    store: str | Path = "recollect.db",
    workers: int | None = None,
    device: str = "auto",
    population: int | None = None,
    on: str | None = None,
    address: str | None = None,
    gpus_per_job: float | None = None,
    part: tuple[int, int] | None = None,
    artifacts: str | None = None,
    keep_weights: bool = False,
    fresh: bool = False,
    retry_failed: bool = False,
    progress: bool = True,
    on_event: OnEvent | None = None,
    track: str | None = None,
) -> Results:
    """Run a study, or what of it is not in the store yet.

    A trial that raises is stored as failed, with a warning at the end, and the others go on. Ctrl-C
    (the stop button of a notebook) loses no finished trial: the same call goes on from there.

    In a script this stands below `if __name__ == "__main__":`, since each worker process imports
    the script again. Workers import a mixer or a task of the user's too: in a notebook it must come
    from a file, which a cell that begins with `%%writefile mine.py` makes.

        task = rc.MQAR(seq_len=16, num_kv_pairs=2)
        models = rc.models_grid(["attention", "mamba"], d_model=[32, 64])
        results = rc.run(rc.Study("mine", tasks=task, models=models), store="mine.db")
        results.plot("accuracy").savefig("accuracy.pdf")

    Args:
        study: what to run.
        store: the file of results, in the current folder (that of a notebook) if not told
            otherwise; it is made where there is none.
        workers: processes that train on the CPU, one for each core if not given; 0: train in this
            process, as a GPU always does.
        device: "cpu", "cuda", "cuda:1", several GPUs as "cuda:0,cuda:1" or "cuda:all", each with a
            process of its own, or "auto": a GPU if there is one.
        population: how many trials of one shape a process trains as one program at most; 64 on a
            GPU, 1 on the CPU, where it is slower than one after the other, if not given.
        on: the executor that runs the trials, by its name; None: worker processes on CPUs and on
            several GPUs, this process on one GPU and with workers=0. "ray" (extra `ray`): a
            cluster, see docs/cluster.md.
        address: of the head of the Ray cluster, "host:port"; None: that of RAY_ADDRESS, or else Ray
            is started on this machine.
        gpus_per_job: on a Ray cluster, the share of a GPU that a process has, such as 0.5.
        part: (i, n) for the i-th of n parts of about equal work, (1, 8) being the first of eight,
            each with a store of its own; `recollect merge` puts these together.
        artifacts: the folder or URL (extra `cluster`) where checkpoints lie while the study runs,
            such as "s3://bucket/study"; None: the folder beside the store.
        keep_weights: whether trained models are kept, to be loaded by `load` or `Results.model`.
        fresh: whether to forget first the stored trials that the study looks at; where another
            study of the store looks at one of them, nothing is forgotten or run.
        retry_failed: whether to try again the trials that have failed.
        progress: whether to show how far it is: as a live picture in a terminal and in a notebook,
            else as lines on standard error.
        on_event: told what happens, see `rc.events`. If it raises, that is a warning, it is told no
            more, and the study goes on.
        track: "trackio", "wandb" or "tensorboard": each trial becomes a run there, and the study a
            group, see docs/trackers.md. One that fails is a warning, and the study goes on.

    Returns:
        The results, whose display has a row for each cell; of a part, for each that was run here.

    Raises:
        UserError: for a study that cannot be run as it is, a store that cannot be written, a place
            from which no worker can be started, or a tracker that is not installed. All that had
            ended before is stored.
        KeyboardInterrupt: as it came.
    """
    if not isinstance(study, Study):
        raise UserError(
            f"{study!r} is no study: expected an rc.Study, such as what a function returns that"
            " makes one"
        )
    if on_event is not None and not callable(on_event):
        raise UserError(f"on_event={on_event!r}: expected a function that takes an event")
    options = executor_options(on, address=address, gpus_per_job=gpus_per_job)
    asked = None if part is None else as_part(part)
    make_folder(Path(store).parent)
    with Store(store) as opened:
        failed = _run(
            study,
            opened,
            progress=progress,
            on_event=on_event,
            track=track,
            workers=workers,
            device=device,
            population=population,
            on=on,
            options=options,
            part=asked,
            artifacts=artifacts,
            keep_weights=keep_weights,
            fresh=fresh,
            retry_failed=retry_failed,
        )
        if failed:
            warnings.warn(
                f"failed trials in {study.name}: {failed}; the column `failure` of `.trials` says"
                " why, and run(..., retry_failed=True) tries them again",
                stacklevel=2,
            )
        return Results(opened, study if asked is None else study.name)


def load(key: str, *, store: str | Path = "recollect.db") -> LanguageModel:
    """The trained model of a trial, which was run with `keep_weights=True`.

        key = results.trials.query("chosen")["key"].iloc[0]
        model = rc.load(key, store="mine.db")
        logits = model(batch.inputs, batch.positions)    # (examples, questions, vocab)

    Args:
        key: of the trial, as in `Results.trials`.
        store: the file of results; the weights lie beside it.

    Returns:
        A module on the CPU, in training mode as any that was built: `.eval()` changes that.

    Raises:
        UserError: if there is no such trial, or it failed, or its weights were not kept.
    """
    if Path(key).suffix or Path(key).name != key:
        raise UserError(f"{key!r} is not the key of a trial: expected rc.load(key, store={key!r})")
    with Store(store, must_exist=True) as opened:
        config, path = opened.config(key), opened.weights_path(key)
        failed = opened.rows("SELECT message FROM failures WHERE key = ?", key)
    if failed and not path.exists():
        raise UserError(f"the trial {key} has no weights, as it failed: {failed[0]['message']}")
    if not path.exists():
        raise UserError(
            f"the weights of {key} were not kept: run its study with keep_weights=True, fresh=True"
        )
    return load_weights(TrialConfig(**config), path)


def _run(
    study: Study,
    store: Store,
    *,
    progress: bool,
    on_event: OnEvent | None,
    track: str | None,
    **options: Any,
) -> int:
    """Run a study, with its progress if wanted; returns how many trials have failed."""
    told = [] if on_event is None else [harmless(on_event)]
    console = Console(stderr=True, highlight=False)
    try:
        with ExitStack() as stack:
            if progress:
                told.append(stack.enter_context(display(console)).show)
            told.append(stack.enter_context(tracking(track, study.name, store.path)))
            return run_study(study, store, on_event=all_of(*told), **options)
    except KeyboardInterrupt:
        if progress:
            console.print(
                "interrupted: what was finished is stored, the same call goes on from there",
                soft_wrap=True,
            )
        raise
