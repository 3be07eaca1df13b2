"""Reproductions as a Markdown page and as JSON: claims, verdicts and numbers.

The HTML page (`page.reproduction_data`) says the same in the same words.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from recollect.analysis.sign_test import range_coverage
from recollect.files import replacing
from recollect.papers.cell_results import CellResults
from recollect.papers.measured import NotMeasured
from recollect.papers.parts import score
from recollect.papers.reproduction import Outcome
from recollect.papers.selectors import plain
from recollect.reports.claims import claims_table, found_record, tally
from recollect.reports.language_tables import passages
from recollect.reports.markup import Table, in_markdown
from recollect.reports.needed_widths import EXPLAINED as WIDTHS
from recollect.reports.needed_widths import needed_widths
from recollect.reports.tables import accuracy, duration, records

COMMAND = "recollect reproduce"
RULES_FILE = "verdicts.md"
"""A file that may lie beside the page; it explains how a verdict is made."""
RANGES = ", ".join(f"{100 * range_coverage(n):.3g} % for {n}" for n in (2, 3, 5, 10))
INTRODUCTION = (
    "Figures and tables of two papers on recall. One command runs each of them and tests the"
    " papers' claims about it."
)
VERDICTS = (
    "A claim is *reproduced* if all its parts are established, *contradicted* if the converse of a"
    " part is established, *not run* if there are no results, and *undecided* otherwise."
    f" `{COMMAND} NAME --claims` prints in advance what is tested, with margins and levels"
)
RULES = "the page “How a verdict is made” of the documentation has the rules"
CHOICES = (
    "A search chooses learning rates on seeds of its own. A fixed grid chooses them on the reported"
    " seeds, so the level of tests for a high number is divided by the number of possible choices."
)
NUMBERS = (
    "A measured number is the value of the median seed, with the range over seeds in brackets."
    " Beside printed numbers and in figures, it is the mean over seeds. The range contains the"
    f" median of all possible seeds with a probability of at least {RANGES} seeds. Bars in figures"
    " are ranges, and stars are numbers printed in the papers. For a model that has not learnt, the"
    " budget and the tried rates are given first, and its numbers after them."
)


def record(outcome: Outcome) -> dict[str, Any]:
    """All results of a reproduction as plain values, for JSON."""
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
    """Write the Markdown page of reproductions.

    If a file `NAME-summary.md` lies beside the page `NAME.md`, its text is put at the top.

    Args:
        outcomes: the reproductions with their results.
        figures: paths of figures by the name of a reproduction.
        path: the file of the page.
        asked: the names that the user has typed.
    """
    summary, rules = path.with_name(f"{path.stem}-summary.md"), RULES
    if path.with_name(RULES_FILE).exists():
        rules = f"[{RULES_FILE}]({RULES_FILE}) explains how a verdict is made"
    headings, rows = claims_table(outcomes)
    parts = [
        "# Reproductions",
        extent(outcomes),
        *([summary.read_text(encoding="utf-8").strip()] if summary.exists() else []),
        INTRODUCTION,
        f"{VERDICTS}; {rules}. {CHOICES}",
        NUMBERS,
        f"    {command(asked, outcomes)}",
        in_markdown(headings[:3], [row[:3] for row in rows]),
        *(part for each in outcomes for part in _section(each, figures, path)),
    ]
    with replacing(path) as temporary:
        temporary.write_text("\n\n".join(map(str.rstrip, parts)) + "\n", encoding="utf-8")


def extent(outcomes: Sequence[Outcome]) -> str:
    """How many claims have each verdict, and how long training took."""
    return f"Claims: {tally(outcomes)}. {training_time(outcomes)}"


def command(names: Sequence[str], outcomes: Sequence[Outcome]) -> str:
    """The command that runs the named reproductions, which have these results."""
    first = outcomes[0]
    text = [] if first.text is None else ["--text", first.text]
    decide = ["--decide"] if any(each.results.has_more for each in outcomes) else []
    return f"{COMMAND} {shlex.join([*names, '--scale', first.scale, *text, *decide])}"


def deviation(outcome: Outcome) -> tuple[str, str] | None:
    """How the experiment differs from the paper's, after a label; None if it does not."""
    each = outcome.reproduction
    if outcome.is_small:
        return "Differences from the paper", each.differs
    if each.unpublished:
        return "Not published (used instead)", f"{'; '.join(map(str, each.unpublished))}."
    return None


def _section(outcome: Outcome, figures: Mapping[str, Sequence[Path]], page: Path) -> list[str]:
    each = outcome.reproduction
    parts = [
        f"## {each.title}",
        f"{each.paper}, {each.place}.",
        f"    {command([each.name], [outcome])}",
    ]
    if differs := deviation(outcome):
        parts.append("*{}:* {}".format(*differs))
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
        parts.append(in_markdown(*published_table(outcome)))
    if widths := needed_widths(outcome.results.all):
        parts += [WIDTHS, in_markdown(*widths.table)]
    for passage in language_passages(outcome):
        parts.append(passage if isinstance(passage, str) else in_markdown(*passage))
    parts.append(training_time([outcome]))
    return parts


def beside_published(outcome: Outcome) -> list[CellResults | None]:
    """For each printed number the cell to compare it with: the one that validates best.

    None if it is not measured.
    """
    found: list[CellResults | None] = []
    for printed in outcome.reproduction.published:
        try:
            cells = outcome.results.select(printed.where)
        except NotMeasured:
            found.append(None)
        else:
            found.append(max(cells, key=lambda cell: score((cell,))))
    return found


def published_table(outcome: Outcome) -> Table:
    """The table of printed numbers beside measured ones."""
    each = outcome.reproduction
    rows = []
    for printed, cell in zip(each.published, beside_published(outcome), strict=True):
        if cell is None:
            name, ours = ", ".join(map(str, printed.where.values())), "-"
        else:
            name, ours = str(cell), cell.in_words(cell.accuracy(each.metric))
        rows.append([name, ours, accuracy(printed.value), printed.setting, printed.source])
    return ["model", f"{each.published[0].unit}, ours", "printed", "setting", "source"], rows


def language_passages(outcome: Outcome) -> list[str | Table]:
    """Paragraphs and tables about the measured language models."""
    language = outcome.reproduction.language
    printed = () if language is None else language.printed
    return [each for models in outcome.results.language for each in passages(models, printed)]


def training_time(outcomes: Iterable[Outcome]) -> str:
    """The training time in words; trials that reproductions share are counted once."""
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
