"""What will be tested, printed before anything is run; and what was found, claim by claim."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, get_args

from recollect.analysis.sign_test import boundaries, looks
from recollect.papers.claims import Claim, Finding, Verdict
from recollect.papers.reproduction import Outcome, Reproduction
from recollect.reports.tables import Rows


def claims_text(each: Reproduction, scale: str) -> str:
    """The claims of a reproduction with all that their verdicts will go by."""
    lines = [f"{each.name}: {each.title}, {scale} scale", each.paper + ", " + each.place]
    for study in each.studies(scale):
        seeds = ", ".join(map(str, study.seeds))
        lines.append(f"seeds of {study.name}: {seeds}; search: {study.search!r}")
    for claim in each.claims:
        lines += ["", f"{claim.name}: {claim.sentence} ({claim.source})"]
        lines += [f"  - {part.sentence}" + _reason(part.why) for part in claim.parts]
        for kind, needed in _needed(each, claim, scale).items():
            lines.append(f"  {kind}: {needed}")
        lines += [f"  left out: {text}" for text in claim.left_out]
    obstacles = each.obstacles(scale)
    if obstacles:
        lines += ["", f"cannot be run: unpublished are {', '.join(obstacles)}"]
    return "\n".join(lines)


def claims_record(each: Reproduction, scale: str) -> dict[str, Any]:
    """The same as plain values, for JSON."""
    studies = each.studies(scale)
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
                "parts": [part.record() for part in claim.parts],
                "needed": _needed(each, claim, scale),
                "left_out": list(claim.left_out),
            }
            for claim in each.claims
        ],
    }


def found_record(claim: Claim, finding: Finding) -> dict[str, Any]:
    """A claim and what was found, as plain values."""
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
            {"state": part.state, "evidence": part.evidence, "decides": part.decides}
            for part in finding.parts
        ],
    }


def claims_table(outcomes: Iterable[Outcome]) -> tuple[list[str], Rows]:
    """Headings and a row for each claim."""
    rows = [
        [each.reproduction.name, claim.sentence, finding.verdict, evidence(finding)]
        for each in outcomes
        for claim, finding in zip(each.reproduction.claims, each.findings, strict=True)
    ]
    return ["reproduction", "claim", "verdict", "measured"], rows


def tally(outcomes: Iterable[Outcome]) -> str:
    """How many claims there are of each verdict, in words."""
    found: list[str] = [finding.verdict for each in outcomes for finding in each.findings]
    return ", ".join(f"{found.count(verdict)} {verdict}" for verdict in get_args(Verdict))


def evidence(finding: Finding) -> str:
    """What was measured, and what would decide it if nothing is decided."""
    decides = f". To decide it: {finding.decides}" if finding.decides else ""
    return f"{finding.evidence}{decides}"


def _needed(each: Reproduction, claim: Claim, scale: str) -> dict[str, str]:
    """How many seeds must be on one side, by the studies' number of seeds, and the level."""
    counts = sorted({len(study.seeds) for study in each.studies(scale)})
    converse = claim.level / len(claim.parts)
    found = {}
    for verdict, where, level in (
        ("reproduced", "each part", claim.level),
        ("contradicted", "the converse of some part", converse),
    ):
        rules = " or ".join(dict.fromkeys(_rule(count, level) for count in counts))
        seeds = f" on {rules}" if rules else ""
        found[verdict] = f"{where}{seeds}; level {100 * level:.3g} %"
    return found


def _rule(seeds: int, level: float) -> str:
    planned = looks(seeds)
    rules = [
        f"{needed} of {look}" + (" seeds" if look == seeds else " (--decide)")
        for look, needed in zip(planned, boundaries(planned, level), strict=True)
        if needed is not None
    ]
    return ", else ".join(rules) or f"no number of up to {planned[-1]} seeds"


def _reason(why: str) -> str:
    return f" ({why})" if why else ""
