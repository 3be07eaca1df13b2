"""A reproduction of the made-up study, with a claim for each verdict; nobody had to train it."""

from pathlib import Path

from page_store import made_study, make_store

import recollect as rc
from recollect.papers.claims import Claim
from recollect.papers.deciding import deciding
from recollect.papers.measures import ACCURACY
from recollect.papers.parts import Part
from recollect.papers.reproduction import Published, Reproduction

MAMBA, HYENA, H3 = ({"mixer.name": name} for name in ("mamba", "hyena", "h3"))
LEFT_OUT = "<i>wider models</i>: too slow"


def study(scale: str) -> rc.Study:
    return made_study(("mamba", "hyena"), widths=(64,), seeds=(1, 2, 3))


def part(cells: dict, **bounds: float) -> Part:
    return Part(cells=cells, measure=ACCURACY, why="a half", **bounds)


REPRODUCTION = Reproduction(
    name="made-up",
    title="A made-up <b>figure</b>",
    paper="Nobody, 2025, arXiv 2500.00000",
    place="figure 1",
    functions=(study,),
    differs="Nothing was trained.",
    figure="accuracy",
    published=(Published(MAMBA, 0.9, "share of pairs", "a setting", "table 1"),),
    claims=(
        Claim("more", "Mamba recalls more than half.", "figure 1", (part(MAMBA, above=0.5),)),
        Claim("less", "Mamba recalls less than half.", "figure 1", (part(MAMBA, below=0.5),)),
        Claim("hyena", "So does <b>Hyena</b>.", "figure 1", (part(HYENA, above=0.5),), 0.05),
        Claim("h3", "So does H3.", "figure 1", (part(H3, above=0.5),), left_out=(LEFT_OUT,)),
    ),
)
VERDICTS = ("reproduced", "contradicted", "undecided", "not run")


def make_results(path: Path) -> None:
    """Store the study, and with more seeds what decides claims about it."""
    for each in (study("laptop"), deciding(study("laptop"))):
        make_store(path, each)
