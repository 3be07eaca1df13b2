"""Reproductions as a page, and for programs: claims, verdicts and numbers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from recollect.analysis.sign_test import range_coverage
from recollect.files import replacing
from recollect.papers.measured import NotMeasured
from recollect.papers.reproduction import Outcome
from recollect.papers.selectors import plain
from recollect.reports.claims import claims_table, found_record, tally
from recollect.reports.language_tables import in_page
from recollect.reports.tables import Rows, accuracy, duration, in_markdown, records

COMMAND = "recollect reproduce"
SUMMARY = "reproductions-summary.md"
"""A file beside the page whose text stands at its top."""
RANGES = ", ".join(f"{100 * range_coverage(n):.3g} % for {n}" for n in (2, 3, 5, 10))
HEAD = (
    "Figures and tables of two papers on recall, each run by one command and held against the"
    " claims that the papers make of it.",
    "A claim is *reproduced* if every part of it is established, *contradicted* if the converse of"
    " one is, *undecided* otherwise, and *not run* without results. What is tested, by which margin"
    f" and at which level, `{COMMAND} NAME --claims` prints before a run; how a verdict is made is"
    " told in [verdicts.md](verdicts.md). A search chooses rates on seeds of its own. Of a fixed"
    " grid the reported seeds choose, and the level at which a number is said to be high is divided"
    " by the number of rates.",
    "A measured number is that of the median seed; beside printed numbers, and in figures, it is"
    " the mean over seeds. The range over the seeds stands in brackets."
    f" Such a range holds the median seed with a probability of at least {RANGES} seeds. Bars in"
    " figures are ranges too, and stars are numbers printed in the papers. Of a model that has not"
    " learnt the budget and the rates that were tried are told, and its numbers stand behind them.",
)


def record(outcome: Outcome) -> dict[str, Any]:
    """Everything about a reproduction as plain values, for JSON."""
    each = outcome.reproduction
    return {
        "name": each.name,
        "title": each.title,
        "paper": each.paper,
        "place": each.place,
        "scale": outcome.scale,
        "studies": [study.name for study in each.studies(outcome.scale)],
        "differs": each.differs if outcome.is_small else None,
        "unpublished": [vars(setting) for setting in each.unpublished],
        "published": [vars(number) | {"where": plain(number.where)} for number in each.published],
        "language": [
            {"name": models.plan.name, "text": models.plan.text}
            | {name: records(table) for name, table in models.tables.items()}
            for models in outcome.results.language
        ],
        "training_seconds": outcome.results.seconds,
        "claims": [
            found_record(claim, finding)
            for claim, finding in zip(each.claims, outcome.findings, strict=True)
        ],
    }


def write_page(
    outcomes: Sequence[Outcome],
    figures: Mapping[str, Sequence[Path]],
    path: Path,
    *,
    asked: Sequence[str],
) -> None:
    """The Markdown page of reproductions; the text of a file `SUMMARY` beside it stands at its top.

    Args:
        outcomes: what it tells of.
        figures: by the name of a reproduction, where its figures lie; those without have none.
        path: of the page.
        asked: the names that the user has typed.
    """
    summary = path.with_name(SUMMARY)
    headings, rows = claims_table(outcomes)
    parts = [
        "# Reproductions",
        f"Claims: {tally(outcomes)}. {_time(outcomes)}",
        *([summary.read_text(encoding="utf-8").strip()] if summary.exists() else []),
        *HEAD,
        f"    {_command(' '.join(asked), outcomes[0], outcomes)}",
        in_markdown(headings[:3], [row[:3] for row in rows]),
        *(part for each in outcomes for part in _section(each, figures, path)),
    ]
    with replacing(path) as temporary:
        temporary.write_text("\n\n".join(map(str.rstrip, parts)) + "\n", encoding="utf-8")


def _command(names: str, outcome: Outcome, outcomes: Sequence[Outcome]) -> str:
    decide = " --decide" if any(each.results.has_more for each in outcomes) else ""
    text = "" if outcome.text is None else f" --text {outcome.text}"
    return f"{COMMAND} {names} --scale {outcome.scale}{text}{decide}"


def _section(outcome: Outcome, figures: Mapping[str, Sequence[Path]], page: Path) -> list[str]:
    each = outcome.reproduction
    parts = [
        f"## {each.title}",
        f"{each.paper}, {each.place}.",
        f"    {_command(each.name, outcome, [outcome])}",
    ]
    if outcome.is_small:
        parts.append(f"*How it differs from the paper:* {each.differs}")
    elif each.unpublished:
        settings = "; ".join(map(str, each.unpublished))
        parts.append(f"*Not published (what stands in its place):* {settings}.")
    places = [figure.relative_to(page.parent).as_posix() for figure in figures.get(each.name, ())]
    parts += [f"![{each.title}]({place})" for place in places]
    rows = [
        [claim.sentence, claim.source, finding.verdict, finding.evidence]
        for claim, finding in zip(each.claims, outcome.findings, strict=True)
    ]
    parts.append(in_markdown(["claim", "source", "verdict", "measured"], rows))
    for claim, finding in zip(each.claims, outcome.findings, strict=True):
        if finding.decides:
            parts.append(f"*What would decide {claim.name}:* {finding.decides}.")
        if claim.left_out:
            parts.append(f"*Not judged for {claim.name}:* {'; '.join(claim.left_out)}.")
    if each.published:
        parts.append(in_markdown(*_published(outcome)))
    printed = () if each.language is None else each.language.printed
    for models in outcome.results.language:
        parts += in_page(models, printed)
    parts.append(_time([outcome]))
    return parts


def _published(outcome: Outcome) -> tuple[list[str], Rows]:
    """The printed numbers, and ours beside them."""
    each = outcome.reproduction
    rows = []
    for printed in each.published:
        try:
            cells = outcome.results.select(printed.where)
        except NotMeasured:
            name, ours = ", ".join(map(str, printed.where.values())), "-"
        else:
            best = max(cells, key=lambda cell: float(cell.known("choice_merit")))
            name, ours = str(best), best.told(best.accuracy(each.metric))
        rows.append([name, ours, accuracy(printed.value), printed.setting, printed.source])
    return ["model", f"{each.published[0].unit}, ours", "printed", "setting", "source"], rows


def _time(outcomes: Iterable[Outcome]) -> str:
    """What the training took, trials that several share counted once."""
    frames = [each.results.run for each in outcomes]
    trials = pd.concat([frame for frame in frames if not frame.empty] or [pd.DataFrame()])
    if trials.empty:
        return "Nothing has been run."
    trials = trials.drop_duplicates("key")
    devices = "; ".join(sorted(trials["device"].unique()))
    return (
        f"Training took {duration(trials['seconds'].sum())}, summed over {len(trials)} trials"
        f" ({devices})."
    )
