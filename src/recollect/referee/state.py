"""The state that the step form carries, measured: bytes of storage after so many tokens."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor

from recollect.referee.subject import Misbehaviour, Subject, has_step

MOMENTS = (1, 64, 512)
"""Numbers of tokens after which the state is reported."""
MAX_LEN = MOMENTS[-1] + 1
"""Of the mixer that is measured; one more, since nothing need be kept for nothing to come."""
PLAIN = (bool, int, float, str, type(None))
PLAIN_BYTES = 64
"""More than any number of a fixed width takes in Python."""


@dataclass(frozen=True)
class State:
    """What one sequence carries in float32.

    Attributes:
        bytes: of all storage that its tensors hold, by the number of tokens read.
        numbers: likewise, how many numbers these are.
        law: "constant", "linear", "saturating at n tokens", "growing, measured up to n tokens"
            (some other way), or "constant, growing with max_len" where room is kept for the longest
            sequence.
    """

    bytes: Mapping[int, int]
    numbers: Mapping[int, int]
    law: str


def measure_state(subject: Subject) -> State | None:
    """Step through the largest of `MOMENTS`; None if there is no step form.

    Raises:
        Misbehaviour: if a step raises, or the state holds something that cannot be measured.
    """
    sizes = _sizes(subject, MOMENTS[-1], MAX_LEN)
    if sizes is None:
        return None
    law = _law([size for size, _ in sizes])
    if law == "constant" and subject.takes("max_len"):
        longer = _sizes(subject, 1, 2 * MAX_LEN)
        if longer is not None and longer[0] > sizes[0]:
            law = "constant, growing with max_len"
    return State(
        bytes={n: sizes[n - 1][0] for n in MOMENTS},
        numbers={n: sizes[n - 1][1] for n in MOMENTS},
        law=law,
    )


def leaves(state: Any) -> dict[str, Any]:
    """The tensors and plain values within a state, by their path.

    Raises:
        Misbehaviour: for a part of another kind, such as a function, whose storage nobody could
            count.
    """
    found: dict[str, Any] = {}
    _collect(state, "state", found)
    return found


def refuse_growth_outside_tensors(before: Any, after: Any) -> None:
    """Plain values may count positions, but not keep the past: their storage is not measured.

    Raises:
        Misbehaviour: if a state holds more of them than the one before it.
    """
    if _plain_values(after) > _plain_values(before):
        raise Misbehaviour(
            "its state grows by numbers or text outside of tensors, whose storage is not measured;"
            " expected tensors"
        )


def storage(state: Any) -> tuple[int, int]:
    """Bytes and real numbers that a state holds on to: tensors that share storage count once, a
    view counts all of it."""
    tensors = [leaf for leaf in leaves(state).values() if isinstance(leaf, Tensor)]
    held = {t.untyped_storage().data_ptr(): t for t in tensors if t.untyped_storage().nbytes()}
    sizes = [t.untyped_storage().nbytes() for t in held.values()]
    widths = [t.element_size() // (1 + t.is_complex()) for t in held.values()]
    return sum(sizes), sum(n // width for n, width in zip(sizes, widths, strict=True))


def _sizes(subject: Subject, n_tokens: int, max_len: int) -> list[tuple[int, int]] | None:
    """Bytes and numbers after 1, 2, ... tokens."""
    module = subject.build(dtype=torch.float32, max_len=max_len)
    if not has_step(module):
        return None
    x, tokens = subject.sequences(n_tokens, batch=1, dtype=torch.float32)
    sizes: list[tuple[int, int]] = []
    with torch.no_grad():
        state = subject.initial_state(module, 1)
        for t in range(n_tokens):
            _, new = subject.step(module, x[:, t], tokens[:, t], state)
            if sizes:
                refuse_growth_outside_tensors(state, new)
            state = new
            sizes.append(storage(state))
    return sizes


def _law(sizes: Sequence[int]) -> str:
    """How a size goes with the number of tokens.

    Growth has come to its end where nothing was added for more than twice as long as ever before:
    room that doubles when it is full goes on growing after a pause of twice the last.
    """
    steps = [after - before for before, after in pairwise(sizes)]
    growths = [n for n, step in enumerate(steps, start=2) if step]
    if not growths:
        return "constant"
    longest_pause = max(later - earlier for earlier, later in pairwise([1, *growths]))
    if len(sizes) - growths[-1] > 2 * longest_pause:
        return f"saturating at {growths[-1]} tokens"
    late = steps[-(len(steps) // 4) :]
    if len(set(late)) == 1 and late[0] > 0:
        return "linear"
    return f"growing, measured up to {len(sizes)} tokens"


def _plain_values(state: Any) -> int:
    """How many a state holds; a long number or text, which has room for others, counts for more."""
    plain = [leaf for leaf in leaves(state).values() if not isinstance(leaf, Tensor)]
    return sum(1 + sys.getsizeof(value) // PLAIN_BYTES for value in plain)


def _collect(part: Any, path: str, found: dict[str, Any]) -> None:
    if isinstance(part, (Tensor, *PLAIN)):
        found[path] = part
        return
    items: Iterable[tuple[Any, Any]]
    if isinstance(part, Mapping):
        items = part.items()
    elif isinstance(part, list | tuple):
        items = enumerate(part)
    elif hasattr(part, "__dict__") and not callable(part):  # a function holds what it closes over
        items = vars(part).items()
    else:
        raise Misbehaviour(f"{path} holds a {type(part).__name__}, which cannot be measured")
    for name, item in items:
        _collect(item, f"{path}[{name!r}]", found)
