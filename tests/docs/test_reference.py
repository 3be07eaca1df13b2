"""The pages have every public name, and every kind of figure."""

import re
from pathlib import Path

import recollect as rc
from recollect.mixers.ready import MAMBA_SSM
from recollect.mixers.transformers_mixers import HF
from recollect.reports.kinds import ALL_KINDS

DOCS = Path(__file__).parents[2] / "docs"
ELSEWHERE = {"__version__", "events"}
"""A string, and a module that has a page of its own."""


def test_every_public_name_is_in_the_reference_once():
    pages = [page.read_text(encoding="utf-8") for page in (DOCS / "reference").glob("*.md")]
    named = re.findall(r"^::: recollect\.(\w+)$", "\n".join(pages), flags=re.MULTILINE)
    assert sorted(named) == sorted(set(rc.__all__) - ELSEWHERE)


def test_every_kind_of_figure_is_described_once():
    rows = re.findall(
        r"^\| (`.*?) \|", (DOCS / "export.md").read_text(encoding="utf-8"), re.MULTILINE
    )
    kinds = re.findall(r"`([\w-]+)`", " ".join(rows))
    assert sorted(kinds) == sorted(ALL_KINDS), "give each kind a row in docs/export.md"


def test_every_ready_mixer_is_listed():
    page = (DOCS / "mixers.md").read_text(encoding="utf-8")
    for prefix, mixers in (("hf", HF), ("mamba_ssm", MAMBA_SSM)):
        (row,) = re.findall(rf"^\| `{prefix}:NAME` \|(?:.*?)\|(.*?)\|", page, re.MULTILINE)
        assert sorted(re.findall(r"`(\w+)`", row)) == sorted(mixers)
    assert f"each of the {len(HF)} |" in page
