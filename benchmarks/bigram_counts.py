"""Seconds and memory that counting the bigrams of a large text takes, and looking them up.

    python benchmarks/bigram_counts.py [--tokens 100000000] [--vocab 50257] [--folder /tmp]

The tokens are drawn by a law of Zipf, in documents of 1,000: their bigrams are more varied than
those of a real text, which makes counting harder. The targets are for 100 million tokens.
"""

from __future__ import annotations

import argparse
import resource
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter

import numpy as np

from recollect.language.arrays import ArrayWriter, made_once
from recollect.language.counts import count_ngrams
from recollect.language.ngrams import ngram_codes
from recollect.language.shards import SHARD_TOKENS, Shards

DOCUMENT = 1000
TARGET_SECONDS, TARGET_BYTES = 180, 2 * 2**30


def main() -> None:
    """Print the times, and the most memory that was held."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--tokens", type=int, default=100_000_000)
    parser.add_argument("--vocab", type=int, default=50_257)
    parser.add_argument("--folder", type=Path)
    options = parser.parse_args()
    with TemporaryDirectory(dir=options.folder) as name:
        folder = Path(name)
        shards = make_text(folder, options.tokens, options.vocab)
        start = perf_counter()
        counts = count_ngrams(shards, 2, folder)
        counted = perf_counter() - start
        bigrams = ngram_codes(shards[0].tokens, 2, options.vocab)
        start = perf_counter()
        counts.of(bigrams)
        looked_up = perf_counter() - start
    held = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    print(f"{shards.tokens:,} tokens, {len(counts.run.codes):,} different bigrams")
    print(f"counted in   {counted:7.1f} s (target for 100 million: {TARGET_SECONDS} s)")
    print(f"memory peak  {held / 2**30:7.2f} GiB (target: {TARGET_BYTES / 2**30:.0f} GiB)")
    print(f"looked up    {len(bigrams) / looked_up / 1e6:7.1f} million bigrams a second")


def make_text(folder: Path, tokens: int, vocab_size: int) -> Shards:
    """A drawn text on disk."""
    chances = 1 / np.arange(1, vocab_size + 1)
    edges = np.cumsum(chances / chances.sum())

    def make(writer: ArrayWriter) -> None:
        count = -(-tokens // SHARD_TOKENS)
        for shard in range(count):
            length = min(SHARD_TOKENS, tokens - shard * SHARD_TOKENS)
            drawn = np.searchsorted(edges, np.random.default_rng(shard).random(length))
            ends = np.append(np.arange(DOCUMENT, length, DOCUMENT), length)
            writer.write(f"{shard:05}.tokens", drawn.clip(max=vocab_size - 1).astype(np.uint16))
            writer.write(f"{shard:05}.ends", ends.astype(np.int64))
        writer.about = {"digest": "drawn", "vocab_size": vocab_size, "shards": count}
        writer.about |= {"tokens": tokens, "documents": -(-tokens // DOCUMENT), "too_short": 0}
        writer.commit()

    return Shards(made_once(folder / "text", make))


if __name__ == "__main__":
    main()
