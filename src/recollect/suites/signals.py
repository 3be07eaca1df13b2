"""The suite `signals`: tasks that should favour a recurrence over attention to single tokens."""

from __future__ import annotations

from recollect.suites.suite import BudgetName, Part, register_suite
from recollect.tasks.task import task


@register_suite("signals", "How well a recurrent state summarises its input")
def signals(budget: BudgetName) -> list[Part]:
    """Smooth signals, noisy patterns, compression, flip-flop, and a long noisy stream."""
    seq_len = {"quick": 48, "standard": 128, "paper": 512}[budget]
    return [
        Part("signal", task("signal", seq_len=seq_len)),
        Part("pattern", task("pattern", period=8, num_repeats=seq_len // 8)),
        Part("compression", task("compression", seq_len=32, vocab_size=16)),
        Part("flip-flop", task("flip-flop", num_instructions=seq_len // 2)),
        Part("noisy stream", task("noisy-stream", seq_len=seq_len, num_kv_pairs=8)),
    ]
