"""Counts of each n-gram in a training text of any size.

Each shard is sorted and counted into a table. Tables are merged on disk, sixteen of one size into
one of the next, until one is left, in which n-grams are found by bisection. Memory holds one shard,
or a block of each table that is merged, whatever the size of the text.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

import numpy as np
from jaxtyping import Int64, Integer, UInt64

from recollect.config import digest
from recollect.errors import UserError
from recollect.language.arrays import ArrayWriter, made_once
from recollect.language.ngrams import check_ngrams, ngram_codes
from recollect.language.progress import OnCount
from recollect.language.shards import Shards

FAN_IN = 16
"""Number of tables that are merged into one."""
BLOCK = 2**22
"""N-grams in memory while tables are merged."""


class CountTable(NamedTuple):
    """A table of distinct n-grams in ascending order and the count of each."""

    codes: UInt64[np.ndarray, " K"]
    counts: Int64[np.ndarray, " K"]


@dataclass(frozen=True)
class NgramCounts:
    """N-gram counts of a text.

    Attributes:
        n: length of the n-grams.
        vocab_size: number of token ids.
        run: every n-gram of the text, on disk.
    """

    n: int
    vocab_size: int
    run: CountTable

    def of(self, codes: UInt64[np.ndarray, " q"]) -> Int64[np.ndarray, " q"]:
        """Counts of these n-grams (`ngrams.ngram_codes`)."""
        wanted, places = np.unique(codes, return_inverse=True)  # in their order on disk
        found = np.searchsorted(self.run.codes, wanted).clip(max=len(self.run.codes) - 1)
        known = self.run.codes[found] == wanted
        return np.where(known, self.run.counts[found], 0)[places]


def count_ngrams(
    shards: Shards, n: int, folder: Path, on_progress: OnCount = lambda *_: None
) -> NgramCounts:
    """Count the n-grams of a text once and store them; n-grams do not cross documents.

    Args:
        shards: the text.
        n: length of the n-grams.
        folder: cache of counts; each text and n has its own name in it.
        on_progress: called with the numbers of counted and of all tokens.

    Raises:
        UserError: if the vocabulary is too large for `n`, or no document has an n-gram.
    """
    check_ngrams(n, shards.vocab_size)

    def make(writer: ArrayWriter) -> None:
        with (
            TemporaryDirectory(dir=writer.path, prefix="runs-") as held,
            writer.stream("codes", np.dtype(np.uint64)) as put_codes,
            writer.stream("counts", np.dtype(np.int64)) as put_counts,
        ):
            for block in merge(_runs(shards, n, on_progress), Path(held)):
                put_codes(block.codes)
                put_counts(block.counts)
        writer.about = {"n": n, "vocab_size": shards.vocab_size, "text": shards.digest}
        writer.commit()

    made = made_once(folder / f"counts-{digest([shards.digest, n])}", make)
    run = CountTable(made["codes"], made["counts"])
    if len(run.codes) == 0:
        raise UserError(f"no document of the training text has {n} tokens: nothing to count")
    return NgramCounts(n, shards.vocab_size, run)


def count_in_memory(
    tokens: Integer[np.ndarray, " L"], ends: Int64[np.ndarray, " D"], n: int, vocab_size: int
) -> CountTable:
    """Count the n-grams of a text that fits into memory."""
    codes = ngram_codes(tokens, n, vocab_size)
    within = np.ones(len(codes), bool)
    for beyond in range(1, n):  # n-grams that begin `beyond` tokens before a document's end
        first = ends - beyond
        within[first[(first >= 0) & (first < len(codes))]] = False
    return CountTable(*np.unique(codes[within], return_counts=True))


def merge(runs: Iterable[CountTable], folder: Path) -> Iterator[CountTable]:
    """Merge any number of tables into one, which is yielded in blocks.

    Args:
        runs: the tables; each is written to disk when it is read.
        folder: folder for them.
    """
    sizes: list[list[CountTable]] = [[]]
    for number, run in enumerate(runs):
        sizes[0].append(_hold([run], folder / f"{number}"))
        for size, held in enumerate(sizes):
            if len(held) == FAN_IN:
                if size + 1 == len(sizes):
                    sizes.append([])
                larger = _hold(_merge_held(held), folder / f"{number}-{size + 1}")
                sizes[size + 1].append(larger)
                for each in held:
                    _remove(each)
                held.clear()
    yield from _merge_held([run for held in sizes for run in held])


def _merge_held(runs: list[CountTable]) -> Iterator[CountTable]:
    """Merge tables block by block. A block ends at the smallest of the last n-grams of the tables'
    next blocks, so no later n-gram belongs before it."""
    ends = [len(run.codes) for run in runs]
    places = [0] * len(runs)
    size = max(BLOCK // max(len(runs), 1), 1)
    while live := [i for i in range(len(runs)) if places[i] < ends[i]]:
        reach = {i: min(places[i] + size, ends[i]) for i in live}
        last = min(runs[i].codes[reach[i] - 1] for i in live)
        parts = []
        for i in live:
            block = slice(places[i], reach[i])
            taken = int(np.searchsorted(runs[i].codes[block], last, side="right"))
            part = slice(places[i], places[i] + taken)
            parts.append((runs[i].codes[part], runs[i].counts[part]))
            places[i] += taken
        codes, counts = map(np.concatenate, zip(*parts, strict=True))
        order = np.argsort(codes)
        codes = codes[order]
        first = np.flatnonzero(np.append(True, codes[1:] != codes[:-1]))
        yield CountTable(codes[first], np.add.reduceat(counts[order], first))


def _runs(shards: Shards, n: int, on_progress: OnCount) -> Iterator[CountTable]:
    done = 0
    for shard in shards:
        yield count_in_memory(shard.tokens, shard.ends, n, shards.vocab_size)
        done += len(shard.tokens)
        on_progress(done, shards.tokens)


def _hold(blocks: Iterable[CountTable], path: Path) -> CountTable:
    """Write a table to disk."""
    files = path.with_suffix(".codes"), path.with_suffix(".counts")
    with files[0].open("wb") as codes, files[1].open("wb") as counts:
        for block in blocks:
            codes.write(block.codes.data)
            counts.write(block.counts.data)
    if files[0].stat().st_size == 0:  # an empty file cannot be memory-mapped
        for file in files:
            file.unlink()
        return CountTable(np.empty(0, np.uint64), np.empty(0, np.int64))
    return CountTable(np.memmap(files[0], np.uint64, "r"), np.memmap(files[1], np.int64, "r"))


def _remove(run: CountTable) -> None:
    for array in run:
        if isinstance(array, np.memmap):
            Path(str(array.filename)).unlink()
