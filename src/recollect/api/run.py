"""Run a study from Python, and load its trained models."""

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
from recollect.studies.store_file import store_path
from recollect.studies.study import Study
from recollect.tracking.trackers import tracking
from recollect.training.checkpoint import load_weights
from recollect.training.config import TrialConfig

if TYPE_CHECKING:
    import torch

    from recollect.models.language_model import LanguageModel
    from recollect.studies.events import OnEvent


def run(
    study: Study,
    *,
    store: str | Path = "recollect.db",
    workers: int | None = None,
    device: str | torch.device = "auto",
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
    """Run the trials of a study that are not in the store yet.

    A trial that raises is stored as failed, with a warning at the end, and the others go on. Ctrl-C
    (the stop button of a notebook) loses no finished trial: the same call resumes the study.

    In a script, put this call below `if __name__ == "__main__":`, because each worker process
    imports the script again. Workers also import your own mixers and tasks, so in a notebook these
    must come from a file: begin their cell with `%%writefile mine.py`.

        task = rc.MQAR(seq_len=16, num_kv_pairs=2)
        models = rc.models_grid(["attention", "mamba"], d_model=[32, 64])
        results = rc.run(rc.Study("mine", tasks=task, models=models), store="mine.db")
        results.plot("accuracy").savefig("accuracy.pdf")

    Args:
        study: the study to run.
        store: the file of results; it is created if it does not exist. A relative path starts at
            the current folder.
        workers: the number of processes that train on the CPU; None: one per core; 0: train in
            this process. One GPU is always used from this process.
        device: "cpu", "cuda", "cuda:1", several GPUs as "cuda:0,cuda:1" or "cuda:all" with one
            process each, or "auto": a GPU if there is one.
        population: the largest number of trials of one shape that a process trains together; None:
            64 on a GPU, 1 on the CPU, where training together is slower.
        on: the name of the executor that runs the trials; None: worker processes on CPUs and on
            several GPUs, this process on one GPU and with workers=0. "ray" (extra `ray`): a
            cluster, see docs/cluster.md.
        address: the head of the Ray cluster, as "host:port"; None: the value of RAY_ADDRESS; if
            that is not set either, Ray is started on this machine.
        gpus_per_job: on a Ray cluster, the share of a GPU for each process, such as 0.5.
        part: (i, n) runs the i-th of n parts of about equal work, from (1, n) to (n, n). Each part
            needs a store of its own; `recollect merge` combines them.
        artifacts: the folder or URL (extra `cluster`) for checkpoints while the study runs, such
            as "s3://bucket/study"; None: the folder beside the store.
        keep_weights: keep trained models for `load` and `Results.model`.
        fresh: delete the stored trials of this study first. If another study in the store uses one
            of them, an error is raised, and nothing is deleted or run.
        retry_failed: run failed trials again.
        progress: show progress: a live display in a terminal or notebook, else lines on standard
            error.
        on_event: a function that is called with each event, see `rc.events`. If it raises, a
            warning is given, it is not called again, and the study goes on.
        track: "trackio", "wandb" or "tensorboard": each trial becomes a run of that tracker,
            grouped by study, see docs/trackers.md. If the tracker fails, a warning is given, and
            the study goes on.

    Returns:
        The results of all cells; for a part, of the cells that this part ran.

    Raises:
        UserError: for a study that cannot be run, a store that cannot be written, a script whose
            workers cannot be started, or a tracker that is not installed. Finished trials are
            stored.
        KeyboardInterrupt: when the user interrupts the study.
    """
    if not isinstance(study, Study):
        raise UserError(
            f"{study!r} is not a study: expected an rc.Study; if it is a function that returns one,"
            " call it"
        )
    if on_event is not None and not callable(on_event):
        raise UserError(f"on_event={on_event!r}: expected a function that takes an event")
    options = executor_options(on, address=address, gpus_per_job=gpus_per_job)
    asked = None if part is None else as_part(part)
    make_folder(store_path(store).parent)
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
    """Load the trained model of a trial that was run with `keep_weights=True`.

        key = results.trials.query("chosen")["key"].iloc[0]
        model = rc.load(key, store="mine.db")
        logits = model(batch.inputs, batch.positions)    # (examples, questions, vocab)

    Args:
        key: the key of the trial, as in `Results.trials`.
        store: the file of results; the weights lie beside it.

    Returns:
        A module on the CPU in training mode; call `.eval()` for evaluation. It maps tokens `(n, L)`
        and positions `(n, Q)` to logits `(n, Q, vocab)`.

    Raises:
        UserError: if the trial does not exist or failed, or its weights were not kept.
    """
    if not isinstance(key, str | Path):
        raise UserError(f"{key!r} is not the key of a trial: expected one in `Results.trials`")
    if Path(key).suffix or Path(key).name != key:
        raise UserError(f"{key!r} is not the key of a trial: expected rc.load(key, store={key!r})")
    with Store(store, must_exist=True) as opened:
        config, path = opened.config(key), opened.weights_path(key)
        failed = opened.rows("SELECT message FROM failures WHERE key = ?", key)
    if failed and not path.exists():
        raise UserError(f"the trial {key} failed and has no weights: {failed[0]['message']}")
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
    """Run a study with progress and tracking; returns the number of failed trials."""
    listeners = [] if on_event is None else [harmless(on_event)]
    console = Console(stderr=True, highlight=False)
    try:
        with ExitStack() as stack:
            if progress:
                listeners.append(stack.enter_context(display(console)).show)
            listeners.append(stack.enter_context(tracking(track, study.name, store.path)))
            return run_study(study, store, on_event=all_of(*listeners), **options)
    except KeyboardInterrupt:
        if progress:
            console.print(
                "interrupted: finished trials are stored, and the same call resumes the study",
                soft_wrap=True,
            )
        raise
