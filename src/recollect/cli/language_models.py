"""What the training of several language models shows: lines for the search of their rates, then a
line for each validation, whichever model it is of."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

from recollect.cli.output import console, print_reading, progress_bars
from recollect.cli.study import INTERRUPTED, run_shown

if TYPE_CHECKING:
    from recollect.language.train_log import Validated
    from recollect.papers.language_plan import LanguagePlan
    from recollect.papers.language_training import Training
    from recollect.studies.store import Store


def train_shown(
    plan: LanguagePlan,
    store: Store,
    *,
    workers: int | None,
    device: str,
    retry_failed: bool,
) -> None:
    """Choose rates, train the models at length and compare them, with progress on standard error;
    what is done already is not done again."""
    from recollect.cli.train_progress import validated_text
    from recollect.language.sources import check_outside
    from recollect.papers.language_results import chosen_rates, measure, withdraw_others
    from recollect.papers.language_training import train_all, trainings

    err = console(stderr=True)
    check_outside(plan.text, plan.folder(store.path))
    with err.status("opening the text", spinner="line"):
        studies = plan.studies()
    print_reading(plan.task.data.corpus)
    for study in studies:
        # one model of this size at a time is enough for a GPU
        run_shown(
            study, store, workers=workers, device=device, population=1, retry_failed=retry_failed
        )
    asked = trainings(plan, chosen_rates(plan, store), plan.folder(store.path), device)
    withdraw_others(plan, store, asked)
    done = 0

    def say(training: Training, what: str) -> None:
        told = f"{training.title} at {training.config.train.learning_rate:g}: {what}"
        err.print(f"{told} ({done} of {len(asked)} trained)", markup=False, soft_wrap=True)

    def on_validated(training: Training, moment: Validated) -> None:
        say(training, validated_text(moment))

    def on_trained(training: Training, _: Validated) -> None:
        nonlocal done
        done += 1
        say(training, f"is trained, in {training.folder}")

    try:
        trained = train_all(
            asked, workers=workers, on_validated=on_validated, on_trained=on_trained
        )
    except KeyboardInterrupt:
        err.print("interrupted: the same command goes on at the last checkpoint of each model")
        raise typer.Exit(INTERRUPTED) from None
    with progress_bars() as on_progress:
        measure(plan, store, asked, trained, device=device, on_progress=on_progress)
