"""Claims in words: what will be tested, and the verdicts."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, get_args

from recollect.analysis.sign_test import boundaries, looks
from recollect.papers.claims import Claim, Finding, Statement, Verdict
from recollect.papers.failure import RATES
from recollect.papers.measured import NotMeasured
from recollect.papers.parts import Part
from recollect.papers.reproduction import Outcome, Reproduction
from recollect.papers.results import PaperResults
from recollect.reports.markup import Rows


def claims_text(each: Reproduction, scale: str) -> str:
    """The claims of a reproduction, with the rules of their verdicts."""
    planned = PaperResults.planned(each.studies(scale))
    lines = [f"{each.name}: {each.title}, {scale} scale", each.paper + ", " + each.place]
    for study in each.studies(scale):
        seeds = ", ".join(map(str, study.seeds))
        lines.append(f"seeds of {study.name}: {seeds}; search: {study.search!r}")
    if each.language is None:
        lines.append(f"a failure to learn counts only after {RATES} (--decide)")
    for claim in each.claims:
        lines += ["", f"{claim.name}: {claim.sentence} ({claim.source})"]
        for part, needed in zip(claim.parts, _needed(claim, planned), strict=True):
            lines.append(f"  - {part.sentence}" + _reason(part.why))
            lines += [f"      {state}: {rule}" for state, rule in needed.items()]
        lines += [f"  left out: {text}" for text in claim.left_out]
    obstacles = each.obstacles(scale)
    if obstacles:
        lines += ["", f"cannot be run: not published: {', '.join(obstacles)}"]
    return "\n".join(lines)


def claims_record(each: Reproduction, scale: str) -> dict[str, Any]:
    """The claims of a reproduction as plain values, for JSON."""
    studies = each.studies(scale)
    planned = PaperResults.planned(studies)
    return {
        "name": each.name,
        "title": each.title,
        "scale": scale,
        "studies": {
            study.name: {"seeds": list(study.seeds), "looks": list(looks(len(study.seeds)))}
            for study in studies
        },
        "claims": [
            {
                "name": claim.name,
                "sentence": claim.sentence,
                "source": claim.source,
                "level": claim.level,
                "parts": [
                    part.record() | {"needed": needed}
                    for part, needed in zip(claim.parts, _needed(claim, planned), strict=True)
                ],
                "left_out": list(claim.left_out),
            }
            for claim in each.claims
        ],
    }


def found_record(claim: Claim, finding: Finding) -> dict[str, Any]:
    """A claim and its verdict as plain values."""
    return {
        "name": claim.name,
        "sentence": claim.sentence,
        "source": claim.source,
        "level": claim.level,
        "verdict": finding.verdict,
        "evidence": finding.evidence,
        "decides": finding.decides,
        "left_out": list(claim.left_out),
        "measured": {name: vars(number) for name, number in finding.measured.items()},
        "parts": [
            {"sentence": part.sentence, "state": found.state}
            | {"evidence": found.evidence, "decides": found.decides}
            for part, found in zip(claim.parts, finding.parts, strict=True)
        ],
    }


def claims_table(outcomes: Iterable[Outcome]) -> tuple[list[str], Rows]:
    """Headings, and one row per claim."""
    rows = [
        [each.reproduction.name, claim.sentence, finding.verdict, evidence(finding)]
        for each in outcomes
        for claim, finding in zip(each.reproduction.claims, each.findings, strict=True)
    ]
    return ["reproduction", "claim", "verdict", "measured"], rows


def tally(outcomes: Iterable[Outcome]) -> str:
    """The number of claims of each verdict, in words."""
    found: list[str] = [finding.verdict for each in outcomes for finding in each.findings]
    return ", ".join(f"{found.count(verdict)} {verdict}" for verdict in get_args(Verdict))


def evidence(finding: Finding) -> str:
    """What was measured and, for an undecided claim, what would decide it."""
    decides = f". To decide it: {finding.decides}" if finding.decides else ""
    return f"{finding.evidence}{decides}"


def _needed(claim: Claim, planned: PaperResults) -> list[dict[str, str]]:
    """For each part: how many seeds establish it or its converse, and at which level."""
    return [_of_part(part, claim, planned) for part in claim.parts]


def _of_part(part: Statement, claim: Claim, planned: PaperResults) -> dict[str, str]:
    if not isinstance(part, Part):
        return {
            "established": f"level {_percent(claim.level)}",
            "contradicted": f"level {_percent(claim.converse_level)} or less",
        }
    try:
        rule = part.rule(planned, claim.level, claim.converse_level)
    except NotMeasured as missing:
        return {"not run": str(missing)}
    every = "" if rule.tests == 1 else f"each of {rule.tests} tests "
    some = "" if rule.tests == 1 else "one of them "
    (side, *_) = part.sides
    other = "on the other side" if side.converse == side.bound else side.other
    return {
        "established": f"{every}{_seeds(rule.looks, rule.level)}",
        "contradicted": f"{some}{other}, {_seeds(rule.looks, rule.converse_level)}",
    }


def _seeds(looks: Sequence[int], level: float) -> str:
    """How many seeds must agree: `on 5 of 5 seeds, else on 9 of 10 after --decide ...`."""
    needed = zip(looks, boundaries(tuple(looks), level), strict=True)
    rules = {look: f"{least} of {look}" for look, least in needed if least is not None}
    at_once = rules.pop(looks[0], None)
    options = [] if at_once is None else [f"on {at_once} seeds"]
    if rules:
        options.append(f"on {', else '.join(rules.values())} after --decide has added seeds")
    on = ", else ".join(options) or f"not possible with up to {looks[-1]} seeds"
    return f"{on}; level {_percent(level)}"


def _percent(level: float) -> str:
    return f"{100 * level:.3g} %"


def _reason(why: str) -> str:
    return f" ({why})" if why else ""
