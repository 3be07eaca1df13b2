"""RWKV-6's time mixing (Peng et al., 2024, arXiv 2404.05892).

Every position x_t is first mixed with the previous one, in five ways that depend on both:

    d_t = x_{t-1} - x_t
    x_t^□ = x_t + d_t * (μ_□ + tanh((x_t + d_t * μ_x) A_□) B_□)             for □ = w, k, v, r, g

    r = x^r W_r,   k = x^k W_k,   v = x^v W_v,   g = SiLU(x^g W_g)
    w = exp(-exp(λ + tanh(x^w A) B))                                        one decay per channel
    y_t = r_t (S_{t-1} + diag(u) k_t v_t^T),   S_t = diag(w_t) S_{t-1} + k_t v_t^T
    out = (norm of every head(y) * g) W_o

Initialisation is that of the authors' code. So is weight decay: it acts on W_r, W_k, W_v,
W_g and W_o alone. The doubled learning rate of λ is left out.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from einops import einsum, rearrange
from jaxtyping import Float
from torch import Tensor, nn

from recollect.mixers.catalogue import register_mixer
from recollect.mixers.heads import head_width
from recollect.mixers.marks import keep_init, no_decay
from recollect.ops.outer_product import outer_product_memory, outer_product_memory_step

HEAD = 64
"""Width of a head in the authors' models."""
MIX_RANK, DECAY_RANK = 32, 64


@register_mixer(
    "rwkv6", family="outer-product memory", title="RWKV-6", paper="2404.05892", year=2024, look=25
)
class RWKV6(nn.Module):
    """The time mixing of RWKV-6, without its channel mixing.

    Args:
        d_model: width.
        layer_idx: index of the layer, which sets the initialisation.
        n_layers: depth of the model, which also sets the initialisation.
        n_heads: number of heads; None: d_model / 64, rounded down and at least 1 (the authors' head
            width is 64).

    Raises:
        UserError: if n_heads does not divide d_model.
    """

    numerics = 2

    def __init__(
        self,
        d_model: int,
        layer_idx: int = 0,
        n_layers: int = 1,
        *,
        n_heads: int | None = None,
    ) -> None:
        super().__init__()
        n_heads = max(1, d_model // HEAD) if n_heads is None else n_heads
        head = head_width(d_model, n_heads)
        self.n_heads = n_heads
        channel = torch.arange(d_model)
        share, rising = channel / d_model, channel / max(1, d_model - 1)
        depth, above = layer_idx / max(1, n_layers - 1), 1 - layer_idx / n_layers

        self.mu_x = nn.Parameter(1 - share**above)
        w = k = 1 - share**above
        r = g = 1 - share ** (0.5 * above)
        self.mu = nn.Parameter(torch.stack([w, k, k - 0.3 * depth, r, g]))
        self.mix_A = nn.Parameter(torch.zeros(5, d_model, MIX_RANK))
        self.mix_B = nn.Parameter(torch.empty(5, MIX_RANK, d_model).uniform_(-0.01, 0.01))
        self.decay = nn.Parameter(-6 + 5 * rising ** (0.7 + 1.3 * depth))
        self.decay_A = nn.Parameter(torch.zeros(d_model, DECAY_RANK))
        self.decay_B = nn.Parameter(torch.empty(DECAY_RANK, d_model).uniform_(-0.01, 0.01))
        zigzag = 0.1 * ((channel + 1) % 3 - 1)
        self.u = nn.Parameter((depth * (1 - rising) + zigzag).view(n_heads, head))
        self.r_proj, self.k_proj, self.v_proj, self.g_proj, self.out_proj = (
            nn.Linear(d_model, d_model, bias=False) for _ in range(5)
        )
        for projection, gain in (
            (self.r_proj, 1.0),
            (self.k_proj, 0.1),
            (self.v_proj, 1.0),
            (self.g_proj, 0.1),
            (self.out_proj, 0.0),
        ):
            nn.init.orthogonal_(projection.weight, gain=gain)
        self.norm = nn.GroupNorm(n_heads, d_model, eps=64e-5)
        nn.init.constant_(self.norm.weight, ((1 + layer_idx) / n_layers) ** 0.7)

        keep_init(self)
        no_decay(self.mu_x, self.mu, self.mix_A, self.mix_B)
        no_decay(self.decay, self.decay_A, self.decay_B, self.u, self.norm)

    def forward(self, x: Float[Tensor, "batch L d_model"]) -> Float[Tensor, "batch L d_model"]:
        """Return the output at every position."""
        r, k, v, log_w, gate = self._memory_inputs(x, F.pad(x, (0, 0, 1, -1)))
        # the op reads after its own write, RWKV-6 before it: so position t - 1 reads with r_t
        r_next = F.pad(r, (0, 0, 0, 0, -1, 1))
        y = outer_product_memory(*(z.transpose(1, 2) for z in (r_next, k, v, log_w)))
        return self._output(F.pad(y.transpose(1, 2), (0, 0, 0, 0, 1, -1)), r, k, v, gate)

    def initial_state(self, batch_size: int) -> dict[str, Any]:
        """Return the state before the first token: zeros, and a previous input of zeros."""
        weight = self.out_proj.weight
        head = weight.shape[0] // self.n_heads
        return {
            "previous": weight.new_zeros(batch_size, weight.shape[0]),
            "memory": weight.new_zeros(batch_size, self.n_heads, head, head),
        }

    def step(
        self, x_t: Float[Tensor, "batch d_model"], state: dict[str, Any]
    ) -> tuple[Float[Tensor, "batch d_model"], dict[str, Any]]:
        """Return one output and the new state: the matrix S and the previous input."""
        r_t, k_t, v_t, log_w_t, gate_t = self._memory_inputs(x_t, state["previous"])
        y_t = einsum(r_t, state["memory"], "b h k, b h k v -> b h v")
        _, memory = outer_product_memory_step(r_t, k_t, v_t, state["memory"], log_w_t)
        # a view of x_t would keep its whole tensor alive
        new = {"previous": x_t.clone(), "memory": memory}
        return self._output(y_t, r_t, k_t, v_t, gate_t), new

    def _memory_inputs(
        self, x: Float[Tensor, "... d_model"], previous: Float[Tensor, "... d_model"]
    ) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
        """r, k, v, log w and the gate, each (..., n_heads, width)."""
        d = previous - x
        hidden = einsum(x + d * self.mu_x, self.mix_A, "... d, way d r -> ... way r").tanh()
        shares = self.mu + einsum(hidden, self.mix_B, "... way r, way r d -> ... way d")
        x_w, x_k, x_v, x_r, x_g = (x[..., None, :] + d[..., None, :] * shares).unbind(-2)
        log_w = -(self.decay + (x_w @ self.decay_A).tanh() @ self.decay_B).exp()
        r, k, v, log_w, gate = (
            rearrange(z, "... (h d) -> ... h d", h=self.n_heads)
            for z in (
                self.r_proj(x_r),
                self.k_proj(x_k),
                self.v_proj(x_v),
                log_w,
                F.silu(self.g_proj(x_g)),
            )
        )
        return r, k, v, log_w, gate

    def _output(
        self,
        y: Float[Tensor, "... n_heads d"],
        r: Float[Tensor, "... n_heads d"],
        k: Float[Tensor, "... n_heads d"],
        v: Float[Tensor, "... n_heads d"],
        gate: Float[Tensor, "... n_heads d"],
    ) -> Float[Tensor, "... d_model"]:
        y = y + (r * self.u * k).sum(-1, keepdim=True) * v
        normed = self.norm(y.reshape(-1, self.norm.num_channels)).view(y.shape)
        return self.out_proj((normed * gate).flatten(-2))
