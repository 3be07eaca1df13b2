"""A function of tensors that is run once and then replayed, without the code that launched it.

On a GPU a small model's step is bound by the host, which launches hundreds of kernels that take a
few microseconds each. A CUDA graph launches all of them at once. It reads and writes the memory
that it was captured with: arguments are copied there, and everything that the function changes has
to stay in place.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from recollect.errors import summary

EAGER = 3
"""Calls before a capture: libraries are loaded, and buffers made, at the first."""

Tensors = dict[str, Tensor]
Capture = Callable[[Callable[[], Tensor]], "Graph"]
"""Captures a function of no arguments; nothing is computed meanwhile."""


@dataclass(frozen=True)
class Graph:
    """What was captured.

    Attributes:
        replay: computes it once more.
        output: where the result then lies.
    """

    replay: Callable[[], None]
    output: Tensor


def capture_on(device: torch.device) -> Capture | None:
    """How functions are captured on a device; None: not at all."""
    return _CudaGraphs() if device.type == "cuda" else None


class Captured:
    """A function whose calls with arguments of a known shape are replays.

    Args:
        function: gets tensors by name, launches the same work whatever numbers are in them, and
            asks for none.
        capture: how it is captured; None: it is called every time.
        label: what messages call it.
    """

    def __init__(
        self, function: Callable[[Tensors], Tensor], capture: Capture | None, label: str
    ) -> None:
        self._function, self._capture, self._label = function, capture, label
        self._calls: dict[object, int] = {}
        self._graphs: dict[object, tuple[Tensors, Graph]] = {}

    def __call__(self, arguments: Tensors) -> Tensor:
        """What the function gives."""
        if self._capture is None:
            return self._function(arguments)
        shapes = tuple((name, x.shape, x.dtype) for name, x in arguments.items())
        calls = self._calls[shapes] = self._calls.get(shapes, 0) + 1
        if shapes not in self._graphs and calls > EAGER:
            self._try_to_capture(shapes, arguments)
        if shapes not in self._graphs:
            return self._function(arguments)
        places, graph = self._graphs[shapes]
        for name, place in places.items():
            place.copy_(arguments[name], non_blocking=True)
        graph.replay()
        return graph.output.clone()

    def forget(self) -> None:
        """Capture anew: what the function reads or changes is elsewhere."""
        self._calls.clear()
        self._graphs.clear()

    def _try_to_capture(self, shapes: object, arguments: Tensors) -> None:
        assert self._capture is not None
        places = {name: x.clone() for name, x in arguments.items()}
        try:
            self._graphs[shapes] = places, self._capture(lambda: self._function(places))
        except Exception as error:  # whatever a user's mixer does that a graph cannot hold
            self.forget()
            self._capture = None
            warnings.warn(
                f"{self._label} is trained without CUDA graphs, which takes the host longer:"
                f" {summary(error)}",
                stacklevel=2,
            )


class _CudaGraphs:
    """CUDA's, which share memory: one is replayed after the other."""

    def __init__(self) -> None:
        self._pool = torch.cuda.graph_pool_handle()

    def __call__(self, function: Callable[[], Tensor]) -> Graph:
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, pool=self._pool):
            output = function()
        return Graph(graph.replay, output)
