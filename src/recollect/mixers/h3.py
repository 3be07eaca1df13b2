"""H3: two state space models and two gates (Fu et al., 2022, arXiv 2212.14052).

    q, k, v = linear maps of u
    k = shift(k) + D_k k                     a filter of d_state taps, learned freely
    S = diag(k v^T) + D k v^T                every product of two channels of a head, over time
    y = W (q S)

`diag` is a diagonal state space model (S4D, arXiv 2206.11893) with a state of d_state real numbers:
conjugate pairs of complex modes, discretised by the bilinear rule,

    h_t = a h_{t-1} + b x_t,   diag(x)_t = 2 Re(C . h_t)
    a = (1 + dt A / 2) / (1 - dt A / 2),   b = dt B / (1 - dt A / 2)

It trains as a convolution and decodes as a recurrence. The shift is a state space model as well; S
moves its state by one place:

    s_t = S s_{t-1} + B k_t,   shift(k)_t = C . s_t

In the paper B is the first unit vector, and C the taps of the filter. The code of H3 and Zoology
starts B there and trains it too.
"""

from __future__ import annotations

import math
from typing import Any

import torch
import torch.nn.functional as F
from einops import rearrange
from jaxtyping import Complex, Float
from torch import Tensor, nn

from recollect.errors import UserError
from recollect.mixers.catalogue import register_mixer
from recollect.mixers.marks import keep_init, no_decay
from recollect.mixers.short_conv import ShortConv
from recollect.mixers.step_sizes import random_log_dt
from recollect.ops.convolution import causal_conv, causal_conv_step
from recollect.ops.diagonal import diagonal_filter, diagonal_scan_step


@register_mixer("h3", family="convolution", title="H3", paper="2212.14052", year=2022, look=6)
class H3(nn.Module):
    """A shift and a diagonal state space model between gates.

    Args:
        d_model: width.
        max_len: longest length, in tokens; of use where d_state is None.
        d_state: real numbers in the state of one channel, even, and taps of the shift; None:
            max_len, as in Zoology, or the next even number.
        head_dim: channels of a head, each key of which meets each value; 1 in the paper's
            synthetics, 2 in Zoology, 8 in H3's language models.
        train_B: whether the shift's B is trained.

    Raises:
        UserError: for an odd d_state, or a head_dim that does not divide the width.
    """

    later_options = ("train_B",)

    def __init__(
        self,
        d_model: int,
        max_len: int | None = None,
        *,
        d_state: int | None = 64,
        head_dim: int = 1,
        train_B: bool = False,
    ) -> None:
        super().__init__()
        self.max_len = max_len if d_state is None else None
        if d_state is None and max_len is not None:
            d_state = max_len + max_len % 2
        if d_state is None or d_state < 2 or d_state % 2:
            raise UserError(
                f"d_state={d_state}: expected an even number of at least 2, or None and a max_len"
            )
        if head_dim < 1 or d_model % head_dim:
            raise UserError(f"head_dim={head_dim}: expected a divisor of d_model={d_model}")
        self.head_dim = head_dim
        self.q_proj = nn.Linear(d_model, d_model)
        self.k_proj = nn.Linear(d_model, d_model)
        self.v_proj = nn.Linear(d_model, d_model)
        self.shift = (
            TrainedShift(d_model, d_state) if train_B else ShortConv(d_model, d_state, bias=False)
        )
        self.shift_D = nn.Parameter(torch.randn(d_model))
        self.diag = DiagonalSSM(d_model // head_dim, d_state)
        self.out_proj = nn.Linear(d_model, d_model)

    def forward(self, x: Float[Tensor, "batch L d_model"]) -> Float[Tensor, "batch L d_model"]:
        """Each position from all up to it.

        Raises:
            UserError: for a length above `max_len`, where d_state was to follow it.
        """
        if self.max_len is not None and x.shape[1] > self.max_len:
            raise UserError(
                f"a sequence of {x.shape[1]} tokens, but d_state=None made a state for"
                f" {self.max_len}; build the model with a larger max_len"
            )
        k = self.k_proj(x)
        q, kv = self._heads(x, self.shift(k) + self.shift_D * k)
        return self._output(q, self.diag(kv.movedim(1, -2)).movedim(-2, 1))

    def initial_state(self, batch_size: int) -> dict[str, Any]:
        """Zeros: the keys that the shift reaches, and the state of every product of channels."""
        return {
            "shift": self.shift.initial_state(batch_size),
            "diag": self.diag.initial_state(batch_size, self.head_dim, self.head_dim),
        }

    def step(
        self, x_t: Float[Tensor, "batch d_model"], state: dict[str, Any]
    ) -> tuple[Float[Tensor, "batch d_model"], dict[str, Any]]:
        """One position; the state is that of both models."""
        k_t = self.k_proj(x_t)
        shifted, shift = self.shift.step(k_t, state["shift"])
        q_t, kv_t = self._heads(x_t, shifted + self.shift_D * k_t)
        s_t, diag = self.diag.step(kv_t, state["diag"])
        return self._output(q_t, s_t), {"shift": shift, "diag": diag}

    def _heads(
        self, x: Float[Tensor, "... d_model"], k: Float[Tensor, "... d_model"]
    ) -> tuple[Float[Tensor, "... i h"], Float[Tensor, "... i j h"]]:
        """Queries, and the products of the shifted keys with the values of their head."""
        q, k, v = (
            rearrange(z, "... (h d) -> ... d h", d=self.head_dim)
            for z in (self.q_proj(x), k, self.v_proj(x))
        )
        return q, k[..., :, None, :] * v[..., None, :, :]

    def _output(
        self, q: Float[Tensor, "... i h"], s: Float[Tensor, "... i j h"]
    ) -> Float[Tensor, "... d_model"]:
        y = (q[..., :, None, :] * s).sum(-3)  # einsum would take small matrix products, slower
        return self.out_proj(rearrange(y, "... d h -> ... (h d)"))


class TrainedShift(ShortConv):
    """A shift whose B is trained: `weight` is C, and h_l = sum over n of B_n C_{n+l} are its taps.

    Args:
        channels: number of channels.
        width: size of the state, and number of taps.
    """

    def __init__(self, channels: int, width: int) -> None:
        super().__init__(channels, width, bias=False)
        self.B = nn.Parameter(torch.zeros(width, channels))
        with torch.no_grad():
            self.B[0] = 1
        no_decay(self.B)

    def forward(self, x: Float[Tensor, "batch L channels"]) -> Float[Tensor, "batch L channels"]:
        """Each position from itself and the width - 1 before it."""
        return causal_conv(x, self._taps())

    def step(
        self, x_t: Float[Tensor, "batch channels"], state: Float[Tensor, "batch past channels"]
    ) -> tuple[Float[Tensor, "batch channels"], Float[Tensor, "batch past channels"]]:
        """One position; the state is the last width - 1 inputs."""
        return causal_conv_step(x_t, self._taps(), state)

    def _taps(self) -> Float[Tensor, "width channels"]:
        """The correlation of B and C, as a convolution with B from its end."""
        before = len(self.B) - 1
        return causal_conv(F.pad(self.weight, (0, 0, 0, before)), self.B.flip(0))[before:]


class DiagonalSSM(nn.Module):
    """S4D-Lin on every channel: modes that start at -1/2 + i pi n (arXiv 2206.11893, eq. 9).

    Args:
        channels: number of channels, h.
        d_state: real numbers in the state of one of them.
    """

    def __init__(self, channels: int, d_state: int) -> None:
        super().__init__()
        modes = d_state // 2
        self.log_dt = nn.Parameter(random_log_dt(channels))
        self.log_A_real = nn.Parameter(torch.full((channels, modes), 0.5).log())
        self.A_imag = nn.Parameter(math.pi * torch.arange(float(modes)).repeat(channels, 1))
        self.B = nn.Parameter(torch.tensor([1.0, 0.0]).repeat(channels, modes, 1))
        self.C = nn.Parameter(torch.randn(channels, modes, 2) / math.sqrt(2))
        self.D = nn.Parameter(torch.randn(channels))
        keep_init(self)
        no_decay(self.log_dt, self.log_A_real, self.A_imag, self.B)

    def forward(self, u: Float[Tensor, "... L h"]) -> Float[Tensor, "... L h"]:
        """The convolution with the response of all modes."""
        log_a, b = self._discretised()
        taps = diagonal_filter(log_a, b * torch.view_as_complex(self.C), u.shape[-2])
        return torch.addcmul(causal_conv(u, taps), self.D, u)

    def initial_state(self, *leading: int) -> Complex[Tensor, "... h modes"]:
        """Every mode at rest."""
        C = torch.view_as_complex(self.C.detach())
        return C.new_zeros(*leading, *C.shape)

    def step(
        self, u_t: Float[Tensor, "... h"], state: Complex[Tensor, "... h modes"]
    ) -> tuple[Float[Tensor, "... h"], Complex[Tensor, "... h modes"]]:
        """One position; the state is that of all modes."""
        log_a, b = self._discretised()
        state = diagonal_scan_step(log_a.exp(), b * u_t[..., None], state)
        y_t = 2 * (torch.view_as_complex(self.C) * state).sum(-1).real
        return y_t + self.D * u_t, state

    def _discretised(self) -> tuple[Complex[Tensor, "h modes"], Complex[Tensor, "h modes"]]:
        """log a and b."""
        dt = self.log_dt.exp()[:, None]
        half = torch.complex(-self.log_A_real.exp() * dt / 2, self.A_imag * dt / 2)
        return ((1 + half) / (1 - half)).log(), dt * torch.view_as_complex(self.B) / (1 - half)
