"""Capture of a function of tensors as a CUDA graph, which is then replayed.

On a GPU a small model's step is bound by the host, which launches hundreds of kernels of a few
microseconds each. A CUDA graph launches all of them at once. It reads and writes the memory that it
was captured with: arguments are copied there, and the function must change its tensors in place.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from recollect.errors import summary

EAGER = 3
"""Calls before a capture; the first calls load libraries and allocate buffers."""
FAR = 0.1
"""Relative tolerance of a replay: its changes may differ from those of a call by this fraction. The
differences that come from a GPU's order of summation are smaller."""

Tensors = dict[str, Tensor]
Capture = Callable[[Callable[[], Tensor]], "Graph"]
"""Captures a function without arguments; capturing computes nothing."""


@dataclass(frozen=True)
class Graph:
    """A captured function.

    Attributes:
        replay: computes it again.
        output: the tensor that holds the result after a replay.
    """

    replay: Callable[[], None]
    output: Tensor


def capture_on(device: torch.device) -> Capture | None:
    """The way to capture functions on a device; None if it has none."""
    return _CudaGraphs(device) if device.type == "cuda" else None


class Captured:
    """A function that is replayed for arguments of a known shape.

    The first replay is compared with a call; replays are used only if the results agree.

    Args:
        function: takes tensors by name; launches the same kernels whatever their values, and never
            reads a value on the host.
        changed: returns the tensors that the function changes in place.
        capture: the way to capture; None: the function is called every time.
        label: its name in messages.
    """

    def __init__(
        self,
        function: Callable[[Tensors], Tensor],
        changed: Callable[[], Sequence[Tensor]],
        capture: Capture | None,
        label: str,
    ) -> None:
        self._function, self._changed = function, changed
        self._capture, self._label = capture, label
        self.forget()

    def __call__(self, arguments: Tensors) -> Tensor:
        """Result of the function, by a call or a replay."""
        if self._capture is None:
            return self._function(arguments)
        shapes = tuple((name, x.shape, x.dtype) for name, x in arguments.items())
        if shapes in self._graphs:
            return self._replay(shapes, arguments)
        calls = self._calls[shapes] = self._calls.get(shapes, 0) + 1
        if calls == EAGER:
            self._places[shapes] = {name: x.clone() for name, x in arguments.items()}
        if calls <= EAGER:
            return self._function(arguments)
        return self._first_replay(shapes, arguments)

    def forget(self) -> None:
        """Discard all captures, because the function's tensors have been replaced."""
        self._calls: dict[object, int] = {}
        self._places: dict[object, Tensors] = {}
        self._graphs: dict[object, Graph] = {}

    def _replay(self, shapes: object, arguments: Tensors) -> Tensor:
        for name, place in self._places[shapes].items():
            place.copy_(arguments[name], non_blocking=True)
        self._graphs[shapes].replay()
        return self._graphs[shapes].output.clone()

    def _first_replay(self, shapes: object, arguments: Tensors) -> Tensor:
        """Call the function, capture it with earlier arguments, replay it with these, and compare;
        the changes and the result are those of the call.

        The call comes first, so that its memory is free again while the graph holds its own.
        """
        assert self._capture is not None
        places, reason, after = self._places[shapes], "", None
        before = self._copies()
        output = self._function(arguments)
        try:
            after = self._copies()
            self._write(before)
            self._graphs[shapes] = self._capture(lambda: self._function(places))
            found = self._replay(shapes, arguments)
            if not _agree(before, [found, *self._changed()], [output, *after]):
                reason = "the graph of a step gives other numbers than the step"
        except Exception as error:  # a user's mixer may do anything that a graph cannot hold
            reason = summary(error)
        if after is not None:
            self._write(after)
        if reason:
            self.forget()
            self._capture = None
            warnings.warn(
                f"{self._label} is trained without CUDA graphs, which takes the host longer:"
                f" {reason}",
                stacklevel=2,
            )
        return output

    def _copies(self) -> list[Tensor]:
        """Copies of the tensors that the function changes."""
        return [x.detach().clone() for x in self._changed()]

    @torch.no_grad()
    def _write(self, values: list[Tensor]) -> None:
        """Give the tensors that the function changes these values."""
        for x, value in zip(self._changed(), values, strict=True):
            x.copy_(value)


@torch.no_grad()
def _agree(before: list[Tensor], found: list[Tensor], expected: list[Tensor]) -> bool:
    """Whether outputs and changes agree."""
    output, *changed = expected
    if not torch.allclose(found[0], output, rtol=FAR, atol=0.0, equal_nan=True):
        return False
    return all(
        bool((ours - theirs).norm() <= FAR * (theirs - old).norm())
        for old, ours, theirs in zip(before, found[1:], changed, strict=True)
        if theirs.isfinite().all()
    )


class _CudaGraphs:
    """CUDA graphs that share a memory pool; they are replayed one after the other."""

    def __init__(self, device: torch.device) -> None:
        self._device, self._pool = device, torch.cuda.graph_pool_handle()

    def __call__(self, function: Callable[[], Tensor]) -> Graph:
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.device(self._device), torch.cuda.graph(graph, pool=self._pool):
            output = function()

        def replay() -> None:
            with torch.cuda.device(self._device):
                graph.replay()

        return Graph(replay, output)
