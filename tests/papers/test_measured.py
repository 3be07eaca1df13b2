"""How numbers with their spread are written."""

from dataclasses import replace

import pytest

from recollect.papers.measured import MeasuredNumber


@pytest.mark.parametrize(
    ("numbers", "text"),
    [
        ([0.5], "0.500"),
        ([0.25, 0.75], "0.500 (0.250–0.750)"),
        ([-0.25, 0.75], "0.250 (-0.250 to 0.750)"),
        ([-0.75, -0.25], "-0.500 (-0.750 to -0.250)"),
        ([0.9997, 0.9999], "0.999"),
        ([0.9997, 1.0], "0.999 (0.999–1.000)"),
    ],
)
def test_a_number_is_written_with_its_spread(numbers, text):
    assert str(MeasuredNumber.over(numbers)) == text


def test_of_a_claim_the_median_seed_counts():
    number = MeasuredNumber.median([1.0, 0.2, 1.0])
    assert str(number) == "1.000 (0.200–1.000)"
    assert str(replace(number, at_least=True)) == "at least 1.000 (0.200–1.000)"
