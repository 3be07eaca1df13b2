"""Train and compare several language models, with progress: one study chooses their learning rates,
another trains them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from recollect.cli.output import console, print_reading, progress_bars
from recollect.cli.run import run_shown

if TYPE_CHECKING:
    from recollect.papers.language_plan import LanguagePlan
    from recollect.studies.store import Store


def train_shown(plan: LanguagePlan, store: Store, *, device: str, **how: Any) -> None:
    """Choose learning rates, train the models and compare them, with progress on standard error.

    Stored results are not computed again.

    Args:
        plan: the models and their training.
        store: the store of results.
        device: where to train and measure.
        how: further options of `run_study`.
    """
    from recollect.language.sources import check_outside
    from recollect.papers.language_results import chosen_rates, is_measured, measure
    from recollect.studies.study import Study

    def run(study: Study, *, keep_weights: bool) -> None:
        # one model of this size already fills a GPU
        run_shown(study, store, device=device, population=1, keep_weights=keep_weights, **how)

    check_outside(plan.text, plan.folder(store.path))
    with console(stderr=True).status("opening the text", spinner="line"):
        studies = plan.studies()
    print_reading(plan.task.data.corpus)
    for study in studies:
        run(study, keep_weights=False)
    rates = chosen_rates(plan, store)
    if not is_measured(plan, store, rates):
        run(plan.trainings(rates), keep_weights=True)
        with progress_bars() as on_progress:
            measure(plan, store, rates, device=device, on_progress=on_progress)
