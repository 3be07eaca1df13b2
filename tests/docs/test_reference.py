"""The reference has every public name."""

import re
from pathlib import Path

import recollect as rc

REFERENCE = Path(__file__).parents[2] / "docs" / "reference"
ELSEWHERE = {"__version__", "events"}
"""A string, and a module that has a page of its own."""


def test_every_public_name_is_in_the_reference_once():
    pages = [page.read_text(encoding="utf-8") for page in REFERENCE.glob("*.md")]
    named = re.findall(r"^::: recollect\.(\w+)$", "\n".join(pages), flags=re.MULTILINE)
    assert sorted(named) == sorted(set(rc.__all__) - ELSEWHERE)
