"""The state that the step form carries, measured: bytes of storage after so many tokens."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
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


@dataclass(frozen=True)
class State:
    """What one sequence carries in float32.

    Attributes:
        bytes: of all storage that its tensors hold, by the number of tokens read.
        numbers: likewise, how many numbers these are.
        law: "constant", "linear", "saturating at n tokens", "growing" (some other way), or
            "constant, growing with max_len" where room is kept for the longest sequence.
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
        Misbehaviour: for a part of another kind, whose storage nobody could count.
    """
    found: dict[str, Any] = {}
    _collect(state, "state", found)
    return found


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
    sizes = []
    with torch.no_grad():
        state = subject.initial_state(module, 1)
        for t in range(n_tokens):
            _, state = subject.step(module, x[:, t], tokens[:, t], state)
            sizes.append(storage(state))
    return sizes


def _law(sizes: list[int]) -> str:
    """How a size goes with the number of tokens."""
    steps = [after - before for before, after in pairwise(sizes)]
    if not any(steps):
        return "constant"
    late = steps[len(steps) // 2 :]
    if not any(late):
        last_growth = max(i for i, step in enumerate(steps) if step)
        return f"saturating at {last_growth + 2} tokens"
    return "linear" if len(set(late)) == 1 and late[0] > 0 else "growing"


def _collect(part: Any, path: str, found: dict[str, Any]) -> None:
    if isinstance(part, (Tensor, *PLAIN)):
        found[path] = part
        return
    items: Iterable[tuple[Any, Any]]
    if isinstance(part, Mapping):
        items = part.items()
    elif isinstance(part, list | tuple):
        items = enumerate(part)
    elif hasattr(part, "__dict__"):
        items = vars(part).items()
    else:
        raise Misbehaviour(f"{path} holds a {type(part).__name__}, which cannot be measured")
    for name, item in items:
        _collect(item, f"{path}[{name!r}]", found)
