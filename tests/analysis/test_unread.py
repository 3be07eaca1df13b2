"""Numbers that stand only because a kind of document was not read, and those that stand anyway."""

import math

import numpy as np
import pytest

from document_worlds import rare_kind
from recollect.analysis.ratio import ratio
from recollect.analysis.unread import documents_needed


def closed(share, size, closes, documents, texts=1500):
    """What a selection closes beyond a half of the gap, and the gap, in `rare_kind`."""
    beyond, gap, hits = rare_kind(share, size, closes, (texts, documents))
    return ratio(beyond[:, None], hits), ratio(gap[:, None], hits)


@pytest.mark.parametrize(
    ("share", "size", "closes"), [(0.05, 8, 0.9), (0.08, 8, 0.9), (0.03, 8, 1.0), (0.02, 16, 0.9)]
)
@pytest.mark.parametrize("documents", [20, 35, 100, 300])
def test_a_rare_kind_turns_few_verdicts(share, size, closes, documents):
    """In truth more than half is closed. Texts without the rare kind look as if it were less, and
    nothing in them tells otherwise."""
    beyond, gap = closed(share, size, closes, documents)
    below = beyond.interval()[1] < 0
    stand = [
        documents >= documents_needed(float(value), float(of))
        for value, of in zip(beyond.value, gap.value, strict=True)
    ]
    assert (below & np.array(stand)).mean() <= 0.05
    if documents <= 35 and share <= 0.05:
        assert below.mean() > 0.1, "without the rule"


def test_the_clearer_a_number_the_fewer_documents_it_needs():
    assert documents_needed(0, 1) == math.inf
    assert documents_needed(0.1, 0) == 1
    needed = [documents_needed(value, 1) for value in (0.1, 0.2, 0.4, 1.0)]
    assert needed == [122, 62, 32, 14]
    assert [documents_needed(-10 * value, 10) for value in (0.1, 0.2, 0.4, 1.0)] == needed


def test_a_kind_that_could_turn_it_is_read_in_all_but_a_twentieth_of_the_texts():
    """By hand: a share p of documents with -4 where all others have v brings the mean to 0."""
    value, gap = 0.4, 1.0
    share = value / (value + 4 * gap)
    documents = documents_needed(value, gap)
    assert (1 - share) ** documents <= 0.05 < (1 - share) ** (documents - 1)
