"""Claims of papers as objects: the sentence, where it stands, and a judge of results."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal

from recollect.papers.measured import Measured, NotMeasured
from recollect.papers.results import Results

Verdict = Literal["reproduced", "not reproduced", "not run"]


@dataclass(frozen=True)
class Finding:
    """What the results say of a claim.

    Attributes:
        verdict: whether they bear it out; "not run" if they are not there.
        evidence: the measured numbers in a sentence, or what is missing.
        measured: these numbers by name, each with its spread over seeds.
    """

    verdict: Verdict
    evidence: str
    measured: Mapping[str, Measured] = field(default_factory=dict)


def finding(holds: bool, evidence: str, measured: Mapping[str, Measured]) -> Finding:
    """Of results that are there."""
    return Finding("reproduced" if holds else "not reproduced", evidence, measured)


Judge = Callable[[Results], Finding]
"""Holds the results against a claim, or raises `NotMeasured`."""


@dataclass(frozen=True)
class Claim:
    """Something that a paper says and an experiment can bear out.

    Attributes:
        name: for programs, unique within its reproduction.
        sentence: what is claimed.
        source: where.
        judge: holds results against it.
        tried: what was done on a laptop to see it, where it does not come out there.
    """

    name: str
    sentence: str
    source: str
    judge: Judge
    tried: str = ""

    def finding(self, results: Results) -> Finding:
        """What these results say of it."""
        try:
            return self.judge(results)
        except NotMeasured as missing:
            return Finding("not run", str(missing))
