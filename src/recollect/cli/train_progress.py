"""Progress of a language model's training: a bar on a terminal, and a line for each validation."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
from rich.progress import TimeRemainingColumn as TimeLeft

from recollect.cli.output import console, shown_in
from recollect.language.text_task import Text
from recollect.language.train import Watch
from recollect.language.validation import Validated, perplexity
from recollect.tensors import trained_numbers

if TYPE_CHECKING:
    from recollect.models.language_model import LanguageModel
    from recollect.training.config import TrialConfig


@contextmanager
def watching(config: TrialConfig) -> Iterator[Watch]:
    """Show the progress of a training on standard error."""
    err = console(stderr=True)
    description = TextColumn("{task.description}", markup=False)
    columns = description, BarColumn(), MofNCompleteColumn(), TimeLeft()
    with Progress(*columns, console=err, transient=True, disable=not err.is_terminal) as bars:
        show = shown_in(bars)

        def started(model: LanguageModel, step: int) -> None:
            err.print(started_text(config, model), markup=False, soft_wrap=True)
            show("training", step, config.train.steps)

        def stepped(step: int, loss: float) -> None:
            show("training", step, config.train.steps)
            # its bar is the last, because texts are prepared before
            bars.update(bars.task_ids[-1], description=f"loss {loss:.3f}")

        def validated(moment: Validated) -> None:
            err.print(validated_text(moment), markup=False, soft_wrap=True)

        yield Watch(show, started, stepped, validated)


def started_text(config: TrialConfig, model: LanguageModel) -> str:
    """The training in one line."""
    assert isinstance(config.task, Text)
    train, parameters = config.train, trained_numbers(model)
    end = config.task.data.end
    between = "nothing" if end is None else config.task.spell(end)
    return (
        f"{config.model.label}, d_model={config.model.d_model}, n_layers={config.model.n_layers}:"
        f" {parameters:,} parameters; {config.task.label}, {between} between documents;"
        f" {train.steps:,} steps of"
        f" {train.batch_size * config.task.max_len:,} tokens in {train.dtype} on"
        f" {model.head.weight.device}"
    )


def validated_text(moment: Validated) -> str:
    """A validation in one line."""
    hits, test = "no AR hits", ""
    if moment.hit_loss is not None:
        hits = f"{perplexity(moment.hit_loss):.2f} on AR hits ({moment.hit_share:.1%})"
    if moment.test_loss is not None:
        of_test = perplexity(moment.test_loss)
        test = f"; test loss {moment.test_loss:.3f}, perplexity {of_test:.2f}"
    return (
        f"step {moment.step:,}, {moment.tokens:,} tokens: training loss {moment.train_loss:.3f},"
        f" validation perplexity {perplexity(moment.valid_loss):.2f}, {hits},"
        f" {moment.tokens_per_second:,.0f} tokens/s{test}"
    )
