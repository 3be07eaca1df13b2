"""One example of each task, and all the configs that tests draw from."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from recollect.tasks.associative_recall import AssociativeRecall
from recollect.tasks.copying import Copy
from recollect.tasks.mixture import Mixture
from recollect.tasks.mqar import MQAR
from recollect.tasks.task import Task, task

EASY = MQAR(seq_len=16, num_kv_pairs=2, vocab_size=64)
HARD = MQAR(seq_len=32, num_kv_pairs=4, vocab_size=64, filler="random", slot_order="drawn")
EXAMPLES: dict[str, Task] = {
    "mqar": HARD,
    "ar": AssociativeRecall(),
    "copy": Copy(min_length=2, max_length=6),
    "mixture": Mixture(tasks=(EASY, HARD, AssociativeRecall(vocab_size=64))),
    "forgetting": task("forgetting", seq_len=32, num_kv_pairs=4, num_updates=3, vocab_size=64),
    "compositional": task("compositional", seq_len=32, num_kv_pairs=4, vocab_size=64),
    "stacked": task("stacked", num_kv_pairs=4, num_keys=8, num_passes=2),
    "noisy-keys": task("noisy-keys", seq_len=48, num_kv_pairs=4, vocab_size=64),
    "n-back": task("n-back", seq_len=48, num_kv_pairs=4, num_writes=3, vocab_size=64),
    "joint-recall": task("joint-recall", num_contexts=2, num_keys=3, num_values=4, most=4),
    "tracking": task("tracking", group="S3", min_length=3, max_length=6),
    "selective-copying": task("selective-copying", seq_len=16, num_tokens=4, vocab_size=8),
    "palindrome": task("palindrome", length=6, num_tokens=8),
    "stacks": task("stacks", num_operations=12, num_stacks=3, num_elements=8),
    "depo": task("depo", min_nodes=3, max_nodes=5, max_hops=3, num_queries=3, num_letters=4),
    "set-disjointness": task("set-disjointness", first_len=5, second_len=3, vocab_size=32),
    "in-context-recall": task(
        "in-context-recall", seq_len=24, vocab_size=16, noise_vocab_size=6, frac_noise=0.3
    ),
    "fuzzy-in-context-recall": task("fuzzy-in-context-recall", seq_len=32, vocab_size=10),
    "compression": task("compression", seq_len=8, vocab_size=8),
    "memorization": task("memorization", seq_len=8, vocab_size=20),
    "signal": task("signal", seq_len=32, num_periods=6, num_phases=6),
    "pattern": task("pattern", period=3, num_repeats=5, num_tokens=8),
    "flip-flop": task("flip-flop", num_instructions=16, ignored=0.6),
    "noisy-stream": task("noisy-stream", seq_len=24, num_kv_pairs=3, num_keys=5),
    "tree-recall": task("tree-recall", num_terminals=8, max_tokens=32, brackets=True),
}

sizes = st.integers(1, 5)


@st.composite
def slotted(draw: st.DrawFn, name: str, pairs: st.SearchStrategy[int], **own: Any) -> Task:
    """A task like MQAR, at any length that fits its queries."""
    settings = {field: draw(strategy) for field, strategy in own.items()}
    settings |= {
        "num_kv_pairs": draw(pairs),
        "power": draw(st.sampled_from([0.01, 1.0])),
        "filler": draw(st.sampled_from(["zero", "random"])),
        "slot_order": draw(st.sampled_from(["random", "drawn"])),
    }
    if name == "forgetting":
        settings["num_updates"] = min(settings["num_updates"], settings["num_kv_pairs"])
    if name == "n-back":
        settings["n_back"] = min(settings["n_back"], settings["num_writes"])
    roomy = task(name, seq_len=1000, vocab_size=1000, **settings)
    assert roomy.max_len == 1000
    needed = roomy.context_len + (roomy.query_len + 1) * settings["num_kv_pairs"]
    return roomy.replace(seq_len=needed + draw(st.integers(0, 9)))


def any_of(name: str, **settings: Any) -> st.SearchStrategy[Task]:
    """A task with these settings, each of them a strategy."""
    return st.fixed_dictionaries(settings).map(lambda values: task(name, **values))


CONFIGS: dict[str, st.SearchStrategy[Task]] = {
    "forgetting": slotted("forgetting", sizes, num_updates=sizes),
    "compositional": slotted("compositional", st.sampled_from([1, 4, 9])),
    "stacked": any_of("stacked", num_kv_pairs=sizes, num_keys=st.integers(5, 9), num_passes=sizes),
    "noisy-keys": slotted(
        "noisy-keys", sizes, key_len=st.integers(5, 6), num_errors=st.integers(0, 2)
    ),
    "n-back": slotted("n-back", sizes, n_back=sizes, num_writes=sizes),
    "joint-recall": any_of(
        "joint-recall", num_contexts=sizes, num_keys=sizes, num_values=st.integers(2, 9)
    ),
    "tracking": any_of(
        "tracking",
        group=st.sampled_from(["Z2", "Z5", "S2", "S3", "S4", "A3", "A4", "A5", "S5"]),
        min_length=sizes,
        max_length=st.integers(5, 12),
        asked=st.sampled_from(["all", "last"]),
    ),
    "selective-copying": any_of(
        "selective-copying",
        seq_len=st.integers(11, 30),
        num_tokens=sizes,
        vocab_size=st.integers(4, 9),
        gaps=st.sampled_from(["all", "before"]),
    ),
    "palindrome": any_of("palindrome", length=sizes, num_tokens=st.integers(2, 9)),
    "stacks": any_of(
        "stacks",
        num_operations=sizes.map(lambda half: 2 * half),
        num_stacks=sizes,
        num_elements=st.integers(2, 9),
    ),
    "depo": any_of(
        "depo",
        min_nodes=st.integers(2, 4),
        max_nodes=st.integers(4, 8),
        max_hops=sizes,
        hops=st.sampled_from(["all", "powers"]),
        num_queries=sizes,
        num_letters=st.integers(3, 9),
        word_len=st.integers(2, 3),
    ),
    "set-disjointness": any_of(
        "set-disjointness", first_len=sizes, second_len=sizes, vocab_size=st.integers(13, 30)
    ),
    "in-context-recall": any_of(
        "in-context-recall",
        seq_len=st.integers(2, 20).map(lambda half: 2 * half),
        vocab_size=st.integers(9, 16),
        noise_vocab_size=sizes,
        frac_noise=st.sampled_from([0.0, 0.3, 0.9]),
    ),
    "fuzzy-in-context-recall": any_of(
        "fuzzy-in-context-recall",
        seq_len=st.integers(18, 60),
        vocab_size=st.integers(7, 12),
        k_motif_size=st.integers(1, 3),
        v_motif_size=st.integers(1, 3),
    ),
    "compression": any_of("compression", seq_len=st.integers(2, 9), vocab_size=st.integers(3, 9)),
    "memorization": any_of(
        "memorization",
        seq_len=sizes.map(lambda half: 2 * half),
        vocab_size=st.integers(5, 30),
        map_seed=sizes,
    ),
    "signal": any_of(
        "signal",
        seq_len=st.just(48),
        num_waves=st.integers(1, 2),
        num_levels=st.integers(24, 25),
        num_periods=st.integers(2, 4),
        num_phases=st.integers(2, 4),
    ),
    "pattern": any_of(
        "pattern",
        period=sizes,
        num_repeats=st.integers(3, 9),
        noise=st.sampled_from([0.0, 0.2, 0.45]),
        num_tokens=st.integers(2, 9),
    ),
    "flip-flop": any_of(
        "flip-flop",
        num_instructions=st.integers(3, 20),
        ignored=st.sampled_from([0.0, 0.5, 0.9]),
    ),
    "noisy-stream": any_of(
        "noisy-stream",
        seq_len=st.integers(15, 30),
        num_kv_pairs=sizes,
        num_keys=st.integers(5, 9),
    ),
    "tree-recall": any_of(
        "tree-recall",
        num_terminals=st.integers(4, 9),
        num_nonterminals=st.integers(20, 30),
        max_rhs_len=st.integers(4, 5),
        max_depth=st.integers(3, 6),
        max_tokens=st.integers(24, 40),
        grammar_seed=st.integers(0, 3),
        brackets=st.just(True),
    ),
}
