"""Measure the recurrent state of the step form, in bytes of storage by number of tokens."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice, pairwise
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from recollect.referee.layers import has_step
from recollect.referee.subject import Subject
from recollect.referee.verdict import Misbehaviour, largest_change
from recollect.referee.walk import Parts, overwritten, snapshot, walk

MOMENTS = (1, 64, 512)
"""Numbers of tokens after which the state is reported."""
MAX_LEN = MOMENTS[-1] + 1
"""Longest length of the measured mixer: one more than is read, since after the last token a mixer
may drop its state."""
READ, NUMBER = 12, 8
"""Tokens read to compare plain values, and the least bytes of a plain number."""
ROUNDING = 1e-3
"""Relative difference of two outputs in float32 above which they are not the same."""
APART = 1e-2
"""Difference of the two forms in float32, relative to the largest output, that is no rounding."""
PLAIN_BYTES = 64
"""More bytes than Python needs for any number of fixed width."""


@dataclass(frozen=True)
class State:
    """The recurrent state of one sequence in float32, over the tokens of `MOMENTS`.

    Attributes:
        bytes: bytes of all storage that the state keeps alive, by the number of tokens read.
        numbers: number of elements in that storage, by the number of tokens read.
        used: bytes of the tensors themselves, by the number of tokens read; fewer than `bytes` if
            they are views of larger tensors.
        counters: plain numbers outside of tensors that only count positions; they are not in
            `bytes`. Plain values that depend on the input are.
        law: how it depends on the number of tokens among those read: "constant", "linear",
            "saturating at n tokens", "growing" (any other growth), or "constant, growing with
            max_len" (room for the longest sequence).
    """

    bytes: Mapping[int, int]
    numbers: Mapping[int, int]
    used: Mapping[int, int]
    law: str
    counters: int = 0


@dataclass(frozen=True)
class Size:
    """Bytes and elements of all storage that a state keeps alive, and bytes its tensors use."""

    bytes: int
    numbers: int
    used: int


def measure_state(subject: Subject) -> State | None:
    """Measure the state step by step; None if there is no step form.

    Raises:
        Misbehaviour: if a step raises, the state keeps the past outside of tensors, the mixer keeps
            a part of it outside of the state, or steps differ from the parallel form.
        Unmeasurable: if the content of the state cannot be read.
    """
    if not has_step(subject.build(dtype=torch.float32, perturbed=False, max_len=MAX_LEN)):
        return None
    read = list(islice(_read(subject, MAX_LEN), MOMENTS[-1]))
    _require_agreement(subject, torch.stack([y_t for _, y_t in read], 1))
    sizes = [size for size, _ in read]
    law = _law([size.bytes for size in sizes])
    if law == "constant" and subject.takes("max_len"):
        longer = next(state_sizes(subject, 2 * MAX_LEN))
        if longer.bytes > sizes[0].bytes:
            law = "constant, growing with max_len"
    return State(
        bytes={n: sizes[n - 1].bytes for n in MOMENTS},
        numbers={n: sizes[n - 1].numbers for n in MOMENTS},
        used={n: sizes[n - 1].used for n in MOMENTS},
        law=law,
        counters=_plain_state(subject).counters,
    )


@dataclass(frozen=True)
class PlainState:
    """Plain values in a state: bytes that depend on the input, and numbers that count positions."""

    bytes: int
    counters: int


def _plain_state(subject: Subject) -> PlainState:
    """Measure the plain values of a state.

    A value that differs between two inputs is part of the state. A value that changes with every
    step but not with the input counts positions.
    """
    module = subject.build(dtype=torch.float32, perturbed=False, max_len=MAX_LEN)
    changed: set[str] = set()
    differing: dict[str, int] = {}
    runs = [subject.sequences(READ, batch=1, seed=seed, dtype=torch.float32) for seed in (0, 1)]
    states = [subject.initial_state(module, 1) for _ in runs]
    before: dict[str, Any] = {}
    for t in range(READ):
        for i, (x, tokens) in enumerate(runs):
            with torch.no_grad():
                _, states[i] = subject.step(module, x[:, t], tokens[:, t], states[i])
        one, other = (_plain_leaves(state) for state in states)
        if not one:
            return PlainState(0, 0)
        changed |= {path for path, value in one.items() if t and before.get(path) != value}
        differing |= {
            path: _width(value) for path, value in one.items() if other.get(path) != value
        }
        before = one
    return PlainState(sum(differing.values()), len(changed - differing.keys()))


def _plain_leaves(state: Any) -> dict[str, Any]:
    """Numbers and bytes outside of tensors, by path."""
    kinds = (int, float, complex, bytes, str, np.generic)
    return {path: leaf for path, leaf in walk(state).leaves.items() if isinstance(leaf, kinds)}


def _width(value: Any) -> int:
    """Bytes of a plain value: 8 for a number, 16 for a complex one, more for a long integer."""
    if isinstance(value, bytes | str):
        return len(value)
    if isinstance(value, int):
        return max(NUMBER, -(-value.bit_length() // 8))
    return 2 * NUMBER if isinstance(value, complex) else NUMBER


def _with_plain(size: Size, plain: int) -> Size:
    return Size(size.bytes + plain, size.numbers + -(-plain // NUMBER), size.used + plain)


def state_sizes(subject: Subject, max_len: int) -> Iterator[Size]:
    """Yield the size of one sequence's state in float32 after 1, 2, ... `max_len` tokens.

    Raises:
        Misbehaviour: as in `measure_state`, except that steps are not compared.
        Unmeasurable: as in `measure_state`.
    """
    return (size for size, _ in _read(subject, max_len))


def _read(subject: Subject, max_len: int) -> Iterator[tuple[Size, Tensor]]:
    """Yield the sizes of `state_sizes` with the outputs of the steps."""
    module = subject.build(dtype=torch.float32, perturbed=False, max_len=max_len)
    x, tokens = subject.sequences(max_len, batch=1, dtype=torch.float32)
    state = subject.initial_state(module, 1)
    before = walk(state)
    plain = _plain_state(subject).bytes
    for t in range(max_len):
        given, was = state, snapshot(before) if t + 1 in (*MOMENTS, max_len) else None
        with torch.no_grad():
            y_t, state = subject.step(module, x[:, t], tokens[:, t], given)
            if was is not None and overwritten(was, walk(given)) is None:
                _require_whole(subject, max_len, given, x[:, t], tokens[:, t], y_t)
        found = walk(state)
        found.require_readable()
        if t:
            refuse_growth_outside_tensors(before, found)
        before = found
        yield _with_plain(storage(found), plain), y_t


def _require_agreement(subject: Subject, outputs: Float[Tensor, "batch L d_model"]) -> None:
    """Refuse a step form that departs from the parallel form: its state is that of another model.

    It may do so after more tokens than the check of the step form reads.
    """
    length = outputs.shape[1]
    module = subject.build(dtype=torch.float32, perturbed=False, max_len=MAX_LEN)
    x, tokens = subject.sequences(MAX_LEN, batch=1, dtype=torch.float32)
    try:
        with torch.no_grad():
            expected = subject.run(module, x[:, :length], tokens[:, :length])
    except Misbehaviour:  # the parallel form may have a longest length
        return
    apart = (outputs - expected).abs().amax((0, 2)) > APART * expected.abs().max()
    if apart.any():
        raise Misbehaviour(
            f"in float32, output {int(apart.int().argmax())} of the step form differs from the"
            f" parallel form by more than {APART:.0%} of the largest output"
        )


def _require_whole(
    subject: Subject, max_len: int, state: Any, x_t: Tensor, token: Tensor, expected: Tensor
) -> None:
    """Refuse a state from which a fresh module with the same weights continues differently.

    The state must be as it was before the step that gave the expected output.
    """
    fresh = subject.build(dtype=torch.float32, perturbed=False, max_len=max_len)
    subject.initial_state(fresh, 1)  # where a module may prepare its steps
    outside = "a fresh module cannot continue from the state: a part of the past is not in it"
    try:
        y_t, _ = subject.step(fresh, x_t, token, state)
    except Misbehaviour as error:
        raise Misbehaviour(f"{outside} ({error})") from error
    if largest_change(y_t[:, None], expected[:, None]).relative > ROUNDING:
        raise Misbehaviour(outside)


def refuse_growth_outside_tensors(before: Parts, after: Parts) -> None:
    """Refuse a state whose plain values grow: their storage would not be measured.

    Raises:
        Misbehaviour: if a state holds more plain values than the previous one.
    """
    if _plain_values(after) > _plain_values(before):
        raise Misbehaviour(
            "the state grows by numbers or text outside of tensors, whose storage is not measured;"
            " expected tensors"
        )


def storage(found: Parts) -> Size:
    """Return the size of the storage that the parts of a state keep alive.

    Shared storage counts once; a view counts with its whole storage.
    """
    held: dict[int, list[Tensor]] = {}
    for tensor in found.tensors:
        if tensor.untyped_storage().nbytes():
            held.setdefault(tensor.untyped_storage().data_ptr(), []).append(tensor)
    total = Size(0, 0, 0)
    for tensors in held.values():
        size = tensors[0].untyped_storage().nbytes()
        width = tensors[0].element_size() // (1 + tensors[0].is_complex())
        viewed = sum(tensor.numel() * tensor.element_size() for tensor in tensors)
        used = min(viewed, size)  # views may overlap
        total = Size(total.bytes + size, total.numbers + size // width, total.used + used)
    return total


def _law(sizes: Sequence[int]) -> str:
    """The law by which a size depends on the number of tokens.

    Growth has ended if the last pause is more than twice as long as any pause before. A buffer that
    doubles when it is full still grows after a pause of twice the last.
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
    return "growing"


def _plain_values(found: Parts) -> int:
    """The number of plain values in a state; long numbers and texts count as several."""
    return sum(1 + sys.getsizeof(value) // PLAIN_BYTES for value in found.plain)
