"""How often intervals over documents hold the truth, and how often a rare kind of document turns a
verdict, on simulated texts.

    python benchmarks/document_intervals.py [--texts N]
"""

from __future__ import annotations

import argparse
from collections import defaultdict
from collections.abc import Iterable
from itertools import product

import numpy as np

from document_worlds import TRUE, gaps, held, long_with_large_gaps, rare_kind, texts
from recollect.analysis.ratio import ratio, share_interval
from recollect.analysis.unread import documents_needed
from recollect.reports.tables import in_markdown

DOCUMENTS = (5, 20, 100)
SEEDS = (1, 2, 3, 5, 10)
WORLDS = tuple(product((0.5, 1.0, 1.5), (False, True), (0.05, 0.3)))
"""How unequal the lengths are, whether gaps are skewed, and by how much seeds differ."""
KINDS = ("normal", "gamma 4", "gamma 1", "lognormal 1", "lognormal 1.5")
RARE = ((0.05, 8, 0.9), (0.08, 8, 0.9), (0.03, 8, 1.0), (0.02, 16, 0.9))
"""Share of a kind, its gap in those of the others, and how much of it is closed."""


def show(title: str, header: list[str], rows: list[list[str]]) -> None:
    """Print a table."""
    print(f"\n{title}\n\n{in_markdown(header, rows)}", flush=True)


def span(shares: Iterable[float]) -> str:
    """From the lowest to the highest, in per cent."""
    found = [share for share in shares if not np.isnan(share)]
    return f"{100 * min(found):.1f} to {100 * max(found):.1f} %" if found else "none"


def coverage(runs: int) -> None:
    """Of the intervals of losses, gaps and shares."""
    found: dict[tuple[str, int, int], list[float]] = defaultdict(list)
    missed = []
    for seeds, documents, (lengths, skewed, between) in product(SEEDS, DOCUMENTS, WORLDS):
        if seeds == 1 and between > min(world[2] for world in WORLDS):
            continue  # what seeds have in common is no difference
        count = max(100, runs // (seeds * documents))
        spread = between * (seeds > 1)
        tokens, hits, losses, excess, on_hits = texts(
            count, seeds, documents, lengths=lengths, skewed=skewed, between=spread
        )
        for name, y, x in (
            ("log", losses, tokens),
            ("gap", excess, tokens),
            ("hits", on_hits, hits),
        ):
            _, right = held(ratio(y, x).interval(), TRUE[name])
            found[name, documents, seeds].append(right)
        there, right = held(share_interval(on_hits, excess, tokens), TRUE["share"])
        missed.append(there * (1 - right) if there else 0.0)
    names = {"log": "log perplexity", "gap": "gap", "hits": "gap on AR hits"}
    show(
        "Intervals of 95 % that hold the truth",
        ["", "documents", *(f"{n} seed{'s' * (n > 1)}" for n in SEEDS)],
        [
            [names[name], str(documents), *(span(found[name, documents, n]) for n in SEEDS)]
            for name, documents in product(names, DOCUMENTS)
        ],
    )
    print(f"\nAn interval of a share is there and misses in {span(missed)} of the texts.")


def skewed_gaps(runs: int) -> None:
    """Coverage where a few documents have much larger gaps than the others."""

    def right(kind: str, documents: int, lengths: float) -> float:
        shape = max(100, runs // documents), documents
        x = np.exp(np.random.default_rng(2).normal(6, lengths, shape))
        return held(ratio((gaps(kind, shape) * x)[:, None], x).interval(), 1.0)[1]

    documents = (5, 20, 35, 100)
    show(
        "Intervals of 95 % that hold the truth, by the distribution of gaps over documents",
        ["gaps", *(f"{n} documents" for n in documents)],
        [[k, *(span(right(k, n, s) for s in (0.1, 1.0)) for n in documents)] for k in KINDS],
    )


def long_documents(runs: int) -> None:
    """Coverage where long documents have the larger gaps."""
    documents = (8, 20, 100, 300)

    def coverage(lengths: float, power: float, n: int) -> str:
        shape = max(100, runs // n), n
        excess, tokens, truth = long_with_large_gaps(shape, power, lengths)
        there, right = held(ratio(excess[:, None], tokens).interval(), truth)
        return f"{100 * right:.1f} % of {100 * there:.0f} %"

    show(
        "Where long documents have larger gaps: intervals that hold the truth, of those there are",
        ["standard deviation of log lengths", "gap", *(f"{n} documents" for n in documents)],
        [
            [
                f"{lengths:g}",
                f"length ** {power:g}",
                *(coverage(lengths, power, n) for n in documents),
            ]
            for lengths in (1.0, 1.5)
            for power in (0.25, 0.5)
        ],
    )


def rare_kinds(runs: int) -> None:
    """False claims that a selection closes less than half a gap."""
    rows = []
    for (share, size, closes), documents in product(RARE, (20, 35, 100, 300)):
        beyond, gap, hits = rare_kind(share, size, closes, (max(100, runs // documents), documents))
        value, of = ratio(beyond[:, None], hits), ratio(gap[:, None], hits)
        below = value.interval()[1] < 0
        needed = [
            documents_needed(float(v), float(o)) for v, o in zip(value.value, of.value, strict=True)
        ]
        claimed = below & (documents >= np.array(needed))
        kind = f"{share:.0%}, {size:g} times, {closes:.0%} closed"
        rows.append(
            [kind, str(documents), f"{100 * below.mean():.1f} %", f"{100 * claimed.mean():.1f} %"]
        )
    show(
        "False claims because a rare kind of document was not read",
        ["rare kind", "documents", "by the interval alone", "with the rule"],
        rows,
    )


def main() -> None:
    """Print all tables."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--texts", type=int, default=10**6, help="documents drawn for each number")
    runs = parser.parse_args().texts
    coverage(runs)
    skewed_gaps(runs)
    long_documents(runs)
    rare_kinds(runs)


if __name__ == "__main__":
    main()
