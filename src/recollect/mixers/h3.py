"""H3: two state space models and two gates (Fu et al., 2022, arXiv 2212.14052).

    q, k, v = linear maps of u
    k = shift(k) + D_k k                     a learned filter of d_state taps
    S = diag(k v^T) + D k v^T                for every product of two channels of a head
    y = W (q S)

`diag` is a diagonal state space model (S4D, arXiv 2206.11893) with a state of d_state real numbers:
conjugate pairs of complex modes, discretised by the bilinear rule,

    h_t = a h_{t-1} + b x_t,   diag(x)_t = 2 Re(C . h_t)
    a = (1 + dt A / 2) / (1 - dt A / 2),   b = dt B / (1 - dt A / 2)

It trains as a convolution and decodes as a recurrence. The shift is a state space model, too, whose
matrix S shifts its state by one place:

    s_t = S s_{t-1} + B k_t,   shift(k)_t = C . s_t

In the paper B is the first unit vector and C holds the taps of the filter. The code of H3 and of
Zoology initialises B like that and trains it.
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

    Taps of the shift beyond the trained length are not trained (`mixers.length_weights`).

    Args:
        d_model: width.
        max_len: longest length, in tokens; used only if d_state is None.
        d_state: real numbers in the state of one channel and number of taps of the shift, even;
            None: max_len, as in Zoology, rounded up to an even number.
        head_dim: channels per head; each key channel is multiplied with each value channel of its
            head. 1 in the paper's synthetic tasks, 2 in Zoology, 8 in H3's language models.
        train_B: whether the shift's B is trained.

    Raises:
        UserError: if d_state is odd or below 2, or head_dim does not divide d_model.
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

    @staticmethod
    def length_weights(length: int, *, d_state: int | None, **_options: Any) -> int:
        """Return the number of taps of the shift that act in a sequence of `length` tokens."""
        return length if d_state is None else min(length, d_state)

    def forward(self, x: Float[Tensor, "batch L d_model"]) -> Float[Tensor, "batch L d_model"]:
        """Return the output at every position.

        Raises:
            UserError: if d_state is None and the sequence is longer than `max_len`.
        """
        if self.max_len is not None and x.shape[1] > self.max_len:
            raise UserError(
                f"a sequence of {x.shape[1]} tokens, but with d_state=None the state was built for"
                f" {self.max_len}; build the model with a larger max_len"
            )
        k = self.k_proj(x)
        q, kv = self._heads(x, self.shift(k) + self.shift_D * k)
        return self._output(q, self.diag(kv.movedim(1, -2)).movedim(-2, 1))

    def initial_state(self, batch_size: int) -> dict[str, Any]:
        """Return zeros: the keys that the shift reaches, and a state per product of channels."""
        return {
            "shift": self.shift.initial_state(batch_size),
            "diag": self.diag.initial_state(batch_size, self.head_dim, self.head_dim),
        }

    def step(
        self, x_t: Float[Tensor, "batch d_model"], state: dict[str, Any]
    ) -> tuple[Float[Tensor, "batch d_model"], dict[str, Any]]:
        """Return one output and the new states of both models."""
        k_t = self.k_proj(x_t)
        shifted, shift = self.shift.step(k_t, state["shift"])
        q_t, kv_t = self._heads(x_t, shifted + self.shift_D * k_t)
        s_t, diag = self.diag.step(kv_t, state["diag"])
        return self._output(q_t, s_t), {"shift": shift, "diag": diag}

    def _heads(
        self, x: Float[Tensor, "... d_model"], k: Float[Tensor, "... d_model"]
    ) -> tuple[Float[Tensor, "... i h"], Float[Tensor, "... i j h"]]:
        """Queries, and the products of the shifted keys and the values in each head."""
        q, k, v = (
            rearrange(z, "... (h d) -> ... d h", d=self.head_dim)
            for z in (self.q_proj(x), k, self.v_proj(x))
        )
        return q, k[..., :, None, :] * v[..., None, :, :]

    def _output(
        self, q: Float[Tensor, "... i h"], s: Float[Tensor, "... i j h"]
    ) -> Float[Tensor, "... d_model"]:
        # einsum would run many small matrix products, which is slower
        y = (q[..., :, None, :] * s).sum(-3)
        return self.out_proj(rearrange(y, "... d h -> ... (h d)"))


class TrainedShift(ShortConv):
    """A shift with trained B: `weight` is C, and the taps are h_l = sum over n of B_n C_{n+l}.

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
        """Return the output at every position."""
        return causal_conv(x, self._taps())

    def step(
        self, x_t: Float[Tensor, "batch channels"], state: Float[Tensor, "batch past channels"]
    ) -> tuple[Float[Tensor, "batch channels"], Float[Tensor, "batch past channels"]]:
        """Return one output and the new state, the last width - 1 inputs."""
        return causal_conv_step(x_t, self._taps(), state)

    def _taps(self) -> Float[Tensor, "width channels"]:
        """The correlation of B and C, computed as a convolution with B reversed."""
        before = len(self.B) - 1
        return causal_conv(F.pad(self.weight, (0, 0, 0, before)), self.B.flip(0))[before:]


class DiagonalSSM(nn.Module):
    """S4D-Lin on every channel: modes that start at -1/2 + i pi n (arXiv 2206.11893, eq. 9).

    Args:
        channels: number of channels, h.
        d_state: real numbers in the state of one channel.
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
        """Return the convolution with the response of all modes."""
        log_a, b = self._discretised()
        taps = diagonal_filter(log_a, b * torch.view_as_complex(self.C), u.shape[-2])
        return torch.addcmul(causal_conv(u, taps), self.D, u)

    def initial_state(self, *leading: int) -> Complex[Tensor, "... h modes"]:
        """Return the state before the first input: zeros."""
        C = torch.view_as_complex(self.C.detach())
        return C.new_zeros(*leading, *C.shape)

    def step(
        self, u_t: Float[Tensor, "... h"], state: Complex[Tensor, "... h modes"]
    ) -> tuple[Float[Tensor, "... h"], Complex[Tensor, "... h modes"]]:
        """Return one output and the new state of all modes."""
        log_a, b = self._discretised()
        state = diagonal_scan_step(log_a.exp(), b * u_t[..., None], state)
        y_t = 2 * (torch.view_as_complex(self.C) * state).sum(-1).real
        return y_t + self.D * u_t, state

    def _discretised(self) -> tuple[Complex[Tensor, "h modes"], Complex[Tensor, "h modes"]]:
        """log a and b."""
        dt = self.log_dt.exp()[:, None]
        half = torch.complex(-self.log_A_real.exp() * dt / 2, self.A_imag * dt / 2)
        return ((1 + half) / (1 - half)).log(), dt * torch.view_as_complex(self.B) / (1 - half)
