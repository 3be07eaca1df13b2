"""The suite `recall`: MQAR of growing difficulty, and variants of recall."""

from __future__ import annotations

from typing import Any

from recollect.suites.suite import BudgetName, Part, register_suite
from recollect.tasks.copying import Copy
from recollect.tasks.mqar import MQAR
from recollect.tasks.n_back import NBackRecall
from recollect.tasks.task import Task, task

FRONTIER: dict[BudgetName, tuple[tuple[int, int], ...]] = {
    "quick": ((32, 4), (32, 8)),
    "standard": ((64, 4), (64, 16), (128, 32)),
    "paper": ((64, 4), (128, 8), (256, 16), (256, 64), (512, 64), (512, 128)),
}
"""Sequence lengths and numbers of pairs of MQAR, from easy to hard."""


N_BACK = NBackRecall(seq_len=768, num_kv_pairs=32, vocab_size=8192, n_back=2, num_writes=4)
"""The size of PaTH's task at the budget `paper`; PaTH asks for each N from 1 to 4."""


@register_suite("recall", "How much a mixer recalls of its input")
def recall(budget: BudgetName) -> list[Part]:
    """MQAR from few pairs to many, and its variants at one length and vocabulary."""
    seq_len, pairs, vocab_size = {
        "quick": (32, 4, 64),
        "standard": (64, 4, 256),
        "paper": (256, 16, 8192),
    }[budget]

    def relative(name: str, **own: Any) -> Task:
        return task(name, seq_len=seq_len, num_kv_pairs=pairs, vocab_size=vocab_size, **own)

    frontier = [
        Part(f"mqar {n}x{k}", MQAR(seq_len=n, num_kv_pairs=k, vocab_size=vocab_size))
        for n, k in FRONTIER[budget]
    ]
    copied = {"quick": 12, "standard": 24, "paper": 256}[budget]
    return [
        *frontier,
        Part("forgetting", relative("forgetting", num_updates=min(4, pairs))),
        Part("n-back", relative("n-back", n_back=2, num_writes=3) if budget != "paper" else N_BACK),
        Part("joint", _joint(budget)),
        Part("compositional", relative("compositional")),
        Part("depo", _depo(budget)),
        Part("copying", Copy(min_length=2, max_length=copied)),
    ]


def _joint(budget: BudgetName) -> Task:
    sides = {"quick": 3, "standard": 4, "paper": 12}[budget]
    return task("joint-recall", num_contexts=sides, num_keys=sides, num_values=16)


def _depo(budget: BudgetName) -> Task:
    nodes, hops, queries = (75, 8, 10) if budget == "paper" else (6, 2, 4)
    return task("depo", min_nodes=3, max_nodes=nodes, max_hops=hops, num_queries=queries)
