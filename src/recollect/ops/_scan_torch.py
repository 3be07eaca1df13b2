"""The selective scan in plain PyTorch, for devices other than the CPU.

It works chunk by chunk and holds the states of one chunk of positions at a time. Dimensions and
shapes as in `scan.py`.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from recollect.ops.chunks import scan_by_doubling

STATES = 1 << 26
"""The most elements in the states of a chunk: 256 MiB in float32, and a few times that while
gradients are computed."""


def forward(
    x: Float[Tensor, "rows L channels"],
    delta: Float[Tensor, "rows L channels"],
    A: Float[Tensor, "rows d_state channels"],
    B: Float[Tensor, "rows L d_state"],
    C: Float[Tensor, "rows L d_state"],
    state: Float[Tensor, "rows d_state channels"],
) -> tuple[Tensor, Tensor, Tensor]:
    """Return y, the final state, and the state at the start of each chunk."""
    outputs, entering = [], []
    chunk = _chunk(x, A)
    for x_i, delta_i, B_i, C_i in zip(*(z.split(chunk, 1) for z in (x, delta, B, C)), strict=True):
        entering.append(state)
        states = _states(x_i, delta_i, _decay(delta_i, A), B_i, state)
        outputs.append((C_i[..., None, :] @ states).squeeze(-2))
        state = states[:, -1].clone()  # a view would keep all states alive
    return torch.cat(outputs, 1), state, torch.stack(entering, 1)


def saved(inputs: Sequence[Tensor], outputs: Sequence[Tensor]) -> tuple[Tensor, ...]:
    """All inputs except the initial state, which is the first of the chunks' states."""
    return *inputs[:5], outputs[2]


def backward(
    x: Float[Tensor, "rows L channels"],
    delta: Float[Tensor, "rows L channels"],
    A: Float[Tensor, "rows d_state channels"],
    B: Float[Tensor, "rows L d_state"],
    C: Float[Tensor, "rows L d_state"],
    entering: Float[Tensor, "rows chunks d_state channels"],
    dy: Float[Tensor, "rows L channels"],
    dstate: Float[Tensor, "rows d_state channels"],
) -> tuple[Tensor, ...]:
    """Return the gradients of the six inputs of `forward`."""
    along = [z.split(_chunk(x, A), 1) for z in (x, delta, B, C, dy)]
    parts, dA = [], torch.zeros_like(A)
    for x_i, delta_i, B_i, C_i, dy_i, state in zip(
        *(reversed(z) for z in (*along, entering.unbind(1))), strict=True
    ):
        decay = _decay(delta_i, A)
        states = _states(x_i, delta_i, decay, B_i, state)
        dstates = C_i[..., None] * dy_i[..., None, :]
        dstates[:, -1] += dstate
        later = F.pad(decay[:, 1:], (0, 0, 0, 0, 0, 1))  # the decay from a state to the next
        dstates = _scanned(later, dstates, backwards=True)
        dC = (states @ dy_i[..., None]).squeeze(-1)
        dB = (dstates @ (delta_i * x_i)[..., None]).squeeze(-1)
        du = (B_i[..., None, :] @ dstates).squeeze(-2)

        dstate = decay[:, 0] * dstates[:, 0]
        before = torch.cat([state[:, None], states[:, :-1]], 1)
        dexponent = dstates.mul_(decay).mul_(before)
        dA += (dexponent * delta_i[..., None, :]).sum(1)
        ddelta = (dexponent * A[:, None]).sum(-2) + du * x_i
        parts.append((du * delta_i, ddelta, dB, dC))
    dx, ddelta, dB, dC = (torch.cat(z[::-1], 1) for z in zip(*parts, strict=True))
    return dx, ddelta, dA, dB, dC, dstate


def _chunk(x: Float[Tensor, "rows L channels"], A: Float[Tensor, "rows d_state channels"]) -> int:
    """Length of a chunk, a power of two."""
    return 1 << max(1, min(x.shape[1], STATES // A.numel())).bit_length() - 1


def _decay(
    delta: Float[Tensor, "rows C channels"], A: Float[Tensor, "rows d_state channels"]
) -> Float[Tensor, "rows C d_state channels"]:
    return (delta[..., None, :] * A[:, None]).exp_()


def _states(
    x: Float[Tensor, "rows C channels"],
    delta: Float[Tensor, "rows C channels"],
    decay: Float[Tensor, "rows C d_state channels"],
    B: Float[Tensor, "rows C d_state"],
    state: Float[Tensor, "rows d_state channels"],
) -> Float[Tensor, "rows C d_state channels"]:
    """The states after each position of a chunk, given the state at its start."""
    added = (delta * x)[..., None, :] * B[..., None]
    added[:, 0].addcmul_(decay[:, 0], state)
    return _scanned(decay, added, backwards=False)


def _scanned(
    decay: Float[Tensor, "rows C d_state channels"],
    added: Float[Tensor, "rows C d_state channels"],
    *,
    backwards: bool,
) -> Float[Tensor, "rows C d_state channels"]:
    states = scan_by_doubling(decay.flatten(-2), added.flatten(-2), backwards=backwards)
    return states.unflatten(-1, added.shape[-2:])
