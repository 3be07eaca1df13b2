"""Windows, repeats and hits, against a count with dictionaries."""

import numpy as np
import pytest
from by_dict import repeats, windows_of
from hypothesis import given
from hypothesis import strategies as st

from recollect.errors import UserError
from recollect.language.ar_hits import is_hit, repeat_distances
from recollect.language.ngrams import check_ngrams, ngram_codes
from recollect.language.windows import Windows, predicted

VOCAB = 4
documents = st.lists(st.lists(st.integers(0, VOCAB - 1), min_size=1, max_size=30), max_size=4)
cuts = st.tuples(st.integers(1, 12), st.integers(1, 12)).map(lambda two: (max(two), min(two)))


def joined(texts, dtype=np.uint16):
    ends = np.cumsum([len(text) for text in texts], dtype=np.int64)
    return np.array([token for text in texts for token in text], dtype), ends


@given(documents, cuts, st.integers(1, 4))
def test_repeats_are_those_of_a_dictionary(texts, cut, n):
    context, stride = cut
    tokens, ends = joined(texts)
    starts = Windows(context=context, stride=stride).context_starts(ends)
    found = repeat_distances(tokens, starts, n, VOCAB)
    places = predicted(ends)
    rows = [row for text in texts for row in repeats(text, context, stride, n)]
    assert found[places].tolist() == [distance for _, _, distance, _ in rows]
    assert (places - starts[places]).tolist() == [position for _, position, _, _ in rows]


@given(documents, cuts)
def test_windows_are_those_of_a_loop(texts, cut):
    context, stride = cut
    ends = joined(texts)[1]
    expected, begin = [], 0
    for text in texts:
        for first, targets in windows_of(len(text), context, stride):
            row = (first, targets.start, targets.stop - 1)
            expected.append(tuple(begin + place for place in row))
        begin += len(text)
    found = Windows(context=context, stride=stride).cut(ends)
    assert list(zip(*(column.tolist() for column in found), strict=True)) == expected


def test_hits_by_hand():
    #        the cat sat . the cat ran . a cat sat
    tokens = np.array([0, 1, 2, 3, 0, 1, 4, 3, 5, 1, 2])
    starts = Windows(context=10, stride=10).context_starts(np.array([11]))
    distances = repeat_distances(tokens, starts, 2, 6)
    assert distances.tolist() == [0, 0, 0, 0, 0, 4, 0, 0, 0, 0, 8]
    counts = np.array([0, 0, 0, 0, 0, 7, 0, 0, 0, 0, 3])
    assert np.flatnonzero(is_hit(distances, counts, 7)).tolist() == [5, 10]
    assert np.flatnonzero(is_hit(distances, counts, 6)).tolist() == [10]
    # a context of eight ends before the last two tokens: what they repeat is out of sight
    starts = Windows(context=8, stride=8).context_starts(np.array([11]))
    assert np.flatnonzero(repeat_distances(tokens, starts, 2, 6)).tolist() == [5]


def test_the_number_of_an_ngram_is_its_own():
    tokens = np.array([2, 0, 1, 2], np.uint16)
    assert ngram_codes(tokens, 2, 3).tolist() == [6, 1, 5]
    assert ngram_codes(tokens, 5, 3).tolist() == []
    largest = np.array([65534] * 4, np.uint16)
    assert ngram_codes(largest, 4, 65535).tolist() == [65535**4 - 1]


def test_ngrams_that_cannot_be_told_apart():
    check_ngrams(4, 65535)
    for n, vocab_size, part in [
        (5, 65535, "1 to 4"),
        (4, 65536, "1 to 3"),  # the last number is that of "never"
        (0, 10, "1 to 19"),
    ]:
        with pytest.raises(UserError, match=f"n={n}: .*{part}"):
            check_ngrams(n, vocab_size)


def test_a_stride_beyond_the_context():
    with pytest.raises(UserError, match=r"stride=9: expected at most context=8"):
        Windows(context=8, stride=9)
