"""Counts on disk against counts in a dictionary."""

import tempfile
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from by_dict import train_counts
from hypothesis import given, settings
from hypothesis import strategies as st
from small_texts import shards, texts, tokenizer

from recollect.errors import UserError
from recollect.language import counts
from recollect.language.counts import CountTable, count_in_memory, count_ngrams, merge
from recollect.language.ngrams import ngram_codes

VOCAB = 5
documents = st.lists(st.lists(st.integers(0, VOCAB - 1), min_size=1, max_size=20), min_size=1)


def code(ngram, vocab_size=VOCAB):
    return sum(int(token) * vocab_size**place for place, token in enumerate(reversed(ngram)))


@given(documents, st.integers(1, 4))
def test_a_text_in_memory(found, n):
    tokens = np.array([token for document in found for token in document], np.uint16)
    ends = np.cumsum([len(document) for document in found], dtype=np.int64)
    run = count_in_memory(tokens, ends, n, VOCAB)
    expected = {code(ngram): count for ngram, count in train_counts(found, n).items()}
    assert dict(zip(run.codes.tolist(), run.counts.tolist(), strict=True)) == expected
    assert run.codes.tolist() == sorted(expected)


@settings(max_examples=30)
@given(st.lists(st.lists(st.integers(0, 50)), max_size=40), st.integers(1, 60))
def test_runs_are_merged_in_blocks(found, block):
    """Sixteen of them and more, with few codes in memory."""
    expected = Counter(each for codes in found for each in codes)
    runs = [
        CountTable(*np.unique(np.array(codes, np.uint64), return_counts=True)) for codes in found
    ]
    with pytest.MonkeyPatch.context() as patch, tempfile.TemporaryDirectory() as folder:
        patch.setattr(counts, "BLOCK", block)
        blocks = list(merge(runs, Path(folder)))
        held = len(list(Path(folder).iterdir()))
    merged = [pair for run in blocks for pair in zip(*map(np.ndarray.tolist, run), strict=True)]
    assert merged == sorted(expected.items())
    assert held <= 2 * (counts.FAN_IN - 1 + len(found) // counts.FAN_IN), "merged ones are removed"
    assert all(len(run.codes) <= max(block, len(runs)) for run in blocks)


def test_a_text_on_disk(tmp_path):
    cutter, found = tokenizer(), texts(60)
    shard_list = shards(found, tmp_path)
    assert len(shard_list) > counts.FAN_IN
    ids = cutter.encode(found)
    progress = []
    for n in (2, 3):
        expected = train_counts(ids, n)
        counted = count_ngrams(shard_list, n, tmp_path, lambda *done: progress.append(done))
        assert progress[-1] == (shard_list.tokens, shard_list.tokens)
        assert counted.run.counts.sum() == expected.total()
        for document in ids:
            found_counts = counted.of(ngram_codes(np.array(document), n, cutter.vocab_size))
            ngrams = (tuple(document[i : i + n]) for i in range(len(document) - n + 1))
            assert found_counts.tolist() == [expected[ngram] for ngram in ngrams]
        unseen = [(token,) * n for token in (0, cutter.vocab_size - 1)]
        assert not any(expected[ngram] for ngram in unseen)
        codes = np.array([code(ngram, cutter.vocab_size) for ngram in unseen], np.uint64)
        assert counted.of(codes).tolist() == [0, 0]


def test_they_are_made_once(tmp_path):
    shard_list = shards(texts(5), tmp_path)
    first = count_ngrams(shard_list, 2, tmp_path)
    again = count_ngrams(shard_list, 2, tmp_path, lambda *_: pytest.fail("counted again"))
    assert again.run.counts.tolist() == first.run.counts.tolist()


def test_what_a_killed_count_left_is_removed(tmp_path):
    shard_list = shards(texts(5), tmp_path)
    count_ngrams(shard_list, 2, tmp_path / "whole")
    (whole,) = (tmp_path / "whole").glob("counts-*")
    unfinished = tmp_path / f".{whole.name}.unfinished"
    (unfinished / "runs-left").mkdir(parents=True)
    (unfinished / "codes").write_bytes(b"half of it")
    count_ngrams(shard_list, 2, tmp_path)
    made = tmp_path / whole.name
    assert {file.name: file.read_bytes() for file in made.iterdir()} == {
        file.name: file.read_bytes() for file in whole.iterdir()
    }


def test_nothing_to_count(tmp_path):
    short = shards(["the cat"], tmp_path)
    assert short.tokens < 9
    with pytest.raises(UserError, match="no document of the training text has 7 tokens"):
        count_ngrams(short, 7, tmp_path)
