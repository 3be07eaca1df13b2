"""Mixers of ours beside those of the package `transformers` that their PyTorch code computes.

A pair has the names of its parameters (ours, theirs, how theirs is made of ours), what theirs puts
out, and the state that theirs ends in, in the layout of ours.
"""

import torch
import torch.nn.functional as F
from agreement import Names, same, taps
from torch import Tensor
from transformers import (
    DynamicCache,
    JambaConfig,
    KimiLinearConfig,
    LlamaConfig,
    Mamba2Config,
    MambaConfig,
    RecurrentGemmaConfig,
    RwkvConfig,
)
from transformers.models.jamba.modeling_jamba import JambaMambaMixer
from transformers.models.kimi_linear.modeling_kimi_linear import KimiLinearAttention
from transformers.models.llama.modeling_llama import LlamaAttention, LlamaRotaryEmbedding
from transformers.models.mamba.modeling_mamba import MambaMixer
from transformers.models.mamba2.modeling_mamba2 import Mamba2Mixer
from transformers.models.recurrent_gemma.modeling_recurrent_gemma import (
    RecurrentGemmaRecurrentBlock,
)
from transformers.models.rwkv.modeling_rwkv import RwkvSelfAttention, rwkv_linear_attention_cpu

from recollect.mixers.attention import Attention
from recollect.mixers.mamba import Mamba
from recollect.mixers.mamba2 import Mamba2
from recollect.mixers.mla import MultiHeadLatentAttention
from recollect.mixers.rg_lru import RGLRU
from recollect.mixers.rwkv4 import RWKV4

D_MODEL = 16


class OfMamba:
    NAMES: Names = (
        ("in_proj.weight", "in_proj.weight", same),
        ("conv1d.weight", "conv1d.weight", taps),
        ("conv1d.bias", "conv1d.bias", same),
        ("x_proj.weight", "x_proj.weight", same),
        ("dt_proj.weight", "dt_proj.weight", same),
        ("dt_proj.bias", "dt_proj.bias", same),
        ("A_log", "A_log", same),
        ("D", "D", same),
        ("out_proj.weight", "out_proj.weight", same),
    )

    def __init__(self) -> None:
        self.config = MambaConfig(hidden_size=D_MODEL, state_size=5, time_step_rank=2)
        self.ours = Mamba(D_MODEL, d_state=5, dt_rank=2)
        self.theirs = MambaMixer(self.config, layer_idx=0)

    def output(self, x: Tensor) -> Tensor:
        return self.theirs(x)

    def state(self, x: Tensor) -> dict[str, Tensor]:
        cache = DynamicCache(config=self.config)
        self.theirs(x, cache_params=cache)
        return {"scan": cache.get_recurrent_state(0), "conv": convolved(cache)}


class OfJamba(OfMamba):
    NAMES: Names = (
        *OfMamba.NAMES,
        ("inner_scales", "dt_layernorm.weight", lambda scales: scales[:2]),
        ("inner_scales", "b_layernorm.weight", lambda scales: scales[2:7]),
        ("inner_scales", "c_layernorm.weight", lambda scales: scales[7:]),
    )

    def __init__(self) -> None:
        self.config = JambaConfig(
            hidden_size=D_MODEL,
            num_hidden_layers=1,
            attn_layer_period=2,
            attn_layer_offset=1,
            mamba_d_state=5,
            mamba_dt_rank=2,
        )
        self.ours = Mamba(D_MODEL, d_state=5, dt_rank=2, inner_norms=True)
        self.theirs = JambaMambaMixer(self.config, layer_idx=0)


class OfMamba2:
    """Both gate before they norm, and norm each group of channels on its own."""

    NAMES: Names = (
        ("in_proj.weight", "in_proj.weight", same),
        ("conv1d.weight", "conv1d.weight", taps),
        ("conv1d.bias", "conv1d.bias", same),
        ("dt_bias", "dt_bias", same),
        ("A_log", "A_log", same),
        ("D", "D", same),
        ("norm.weight", "norm.weight", same),
        ("out_proj.weight", "out_proj.weight", same),
    )

    def __init__(self, n_groups: int) -> None:
        self.config = Mamba2Config(
            hidden_size=D_MODEL, state_size=5, num_heads=4, head_dim=8, n_groups=n_groups
        )
        self.n_groups = n_groups
        self.ours = Mamba2(D_MODEL, d_state=5, head_dim=8, n_groups=n_groups)
        self.theirs = Mamba2Mixer(self.config, layer_idx=0)

    def output(self, x: Tensor) -> Tensor:
        return self.theirs(x)

    def state(self, x: Tensor) -> dict[str, Tensor]:
        cache = DynamicCache(config=self.config)
        self.theirs(x, cache_params=cache)
        # (batch, heads, head_dim, d_state)
        memory = cache.get_recurrent_state(0).unflatten(1, (self.n_groups, -1)).mT
        return {"memory": memory, "conv": convolved(cache)}


class OfRWKV4:
    NAMES: Names = (
        ("mu", "time_mix_receptance", lambda mu: mu[0]),
        ("mu", "time_mix_key", lambda mu: mu[1]),
        ("mu", "time_mix_value", lambda mu: mu[2]),
        ("time_decay", "time_decay", same),
        ("time_first", "time_first", same),
        ("r_proj.weight", "receptance.weight", same),
        ("k_proj.weight", "key.weight", same),
        ("v_proj.weight", "value.weight", same),
        ("out_proj.weight", "output.weight", same),
    )

    def __init__(self) -> None:
        self.ours = RWKV4(D_MODEL, layer_idx=1, n_layers=4)
        config = RwkvConfig(hidden_size=D_MODEL, num_hidden_layers=4)
        self.theirs = RwkvSelfAttention(config, layer_id=1)

    def output(self, x: Tensor) -> Tensor:
        return self.theirs(x)[0]

    def state(self, x: Tensor) -> dict[str, Tensor]:
        # not by their module, which mixes up the batch when it begins with a state at length 1
        _, k, v, _ = self.theirs.extract_key_value(x)
        _, state = rwkv_linear_attention_cpu(
            self.theirs.time_decay, self.theirs.time_first, k, v, return_state=True
        )
        return {"previous": x[:, -1], "wkv": torch.stack(state, dim=1)}


class OfRGLRU:
    """At position 0, theirs takes up its input whole, not sqrt(1 - a^2) of it; so begin at 1."""

    NAMES: Names = (
        ("linear_x.weight", "linear_x.weight", same),
        ("linear_x.bias", "linear_x.bias", same),
        ("linear_y.weight", "linear_y.weight", same),
        ("linear_y.bias", "linear_y.bias", same),
        ("conv_1d.weight", "conv_1d.weight", taps),
        ("conv_1d.bias", "conv_1d.bias", same),
        ("input_gate.weight", "rg_lru.input_gate_weight", same),
        ("input_gate.bias", "rg_lru.input_gate_bias", same),
        ("a_gate.weight", "rg_lru.recurrent_gate_weight", same),
        ("a_gate.bias", "rg_lru.recurrent_gate_bias", same),
        ("a_param", "rg_lru.recurrent_param", same),
        ("out_proj.weight", "linear_out.weight", same),
        ("out_proj.bias", "linear_out.bias", same),
    )

    def __init__(self, n_blocks: int) -> None:
        self.ours = RGLRU(D_MODEL, lru_width=24, n_blocks=n_blocks)
        config = RecurrentGemmaConfig(
            hidden_size=D_MODEL, lru_width=24, num_attention_heads=n_blocks
        )
        self.theirs = RecurrentGemmaRecurrentBlock(config, layer_idx=0)

    def output(self, x: Tensor, *, use_cache: bool = False) -> Tensor:
        positions = torch.arange(1, x.shape[1] + 1).expand(x.shape[:2])
        return self.theirs(x, positions, attention_mask=None, use_cache=use_cache)[0]

    def state(self, x: Tensor) -> dict[str, Tensor]:
        # zeros; those that theirs begins with have d_model channels
        self.theirs.conv1d_state = x.new_zeros(len(x), 24, 3)
        self.theirs.rg_lru.recurrent_states = x.new_zeros(len(x), 24)
        self.output(x, use_cache=True)
        return {"h": self.theirs.rg_lru.recurrent_states, "conv": self.theirs.conv1d_state.mT}


class OfAttention:
    """Llama's rotation pairs channels i and i + 4 of the 8 in a head, ours 2 i and 2 i + 1."""

    NAMES: Names = (
        ("qkv_proj.weight", "q_proj.weight", lambda w: halves_first(w.chunk(3)[0])),
        ("qkv_proj.weight", "k_proj.weight", lambda w: halves_first(w.chunk(3)[1])),
        ("qkv_proj.weight", "v_proj.weight", lambda w: w.chunk(3)[2]),
        ("qkv_proj.bias", "q_proj.bias", lambda b: halves_first(b.chunk(3)[0])),
        ("qkv_proj.bias", "k_proj.bias", lambda b: halves_first(b.chunk(3)[1])),
        ("qkv_proj.bias", "v_proj.bias", lambda b: b.chunk(3)[2]),
        ("out_proj.weight", "o_proj.weight", same),
        ("out_proj.bias", "o_proj.bias", same),
    )

    def __init__(self) -> None:
        self.ours = Attention(D_MODEL, rope=True, n_heads=2)
        self.config = LlamaConfig(
            hidden_size=D_MODEL,
            num_attention_heads=2,
            attention_bias=True,
            attn_implementation="eager",
        )
        self.theirs = LlamaAttention(self.config, layer_idx=0)

    def output(self, x: Tensor, cache: DynamicCache | None = None) -> Tensor:
        angles = LlamaRotaryEmbedding(self.config)(x, torch.arange(x.shape[1])[None])
        return self.theirs(x, angles, future(x), past_key_values=cache)[0]

    def state(self, x: Tensor) -> dict[str, Tensor]:
        cache = DynamicCache(config=self.config)
        self.output(x, cache)
        keys = cache.layers[0].keys.unflatten(-1, (2, 4)).mT.flatten(-2)
        return {"keys": keys, "values": cache.layers[0].values}


class OfLatentAttention:
    """Theirs has one map to the keys and values of a head; its shared key is not rotated."""

    NAMES: Names = (
        ("q_proj.weight", "q_proj.weight", same),
        ("kv_down.weight", "kv_a_proj_with_mqa.weight", same),
        ("kv_norm.weight", "kv_a_layernorm.weight", same),
        ("k_up.weight", "kv_b_proj.weight", lambda w: F.pad(by_head(w), (0, 0, 0, 8))),
        ("v_up.weight", "kv_b_proj.weight", lambda w: F.pad(by_head(w), (0, 0, 8, 0))),
        ("out_proj.weight", "o_proj.weight", same),
    )

    def __init__(self) -> None:
        self.ours = MultiHeadLatentAttention(D_MODEL, n_heads=2, kv_rank=6, rotated=False)
        self.config = KimiLinearConfig(
            hidden_size=D_MODEL,
            num_attention_heads=2,
            num_key_value_heads=2,
            kv_lora_rank=6,
            qk_nope_head_dim=8,
            qk_rope_head_dim=4,
            v_head_dim=8,
            attn_implementation="eager",
        )
        self.theirs = KimiLinearAttention(self.config, layer_idx=0)

    def output(self, x: Tensor, cache: DynamicCache | None = None) -> Tensor:
        return self.theirs(x, future(x), past_key_values=cache)[0]

    def state(self, x: Tensor) -> dict[str, Tensor]:
        cache = DynamicCache()
        self.output(x, cache)
        latent, shared = cache.layers[0].keys, cache.layers[0].values
        return {"latent": latent[:, 0], "rope_keys": shared[:, 0]}


def future(x: Tensor) -> Tensor:
    """What a mask adds to the scores: minus infinity at later positions."""
    return torch.full((x.shape[1], x.shape[1]), -torch.inf).triu(1)


def by_head(rows: Tensor) -> Tensor:
    """The rows of each of two heads."""
    return rows.unflatten(0, (2, -1))


def halves_first(rows: Tensor) -> Tensor:
    """In each of two heads, the first channels of the pairs before the second ones."""
    return rows.unflatten(0, (2, 4, 2)).transpose(1, 2).flatten(0, 2)


def convolved(cache: DynamicCache) -> Tensor:
    """(batch, past, channels), without the oldest input, which no later output needs."""
    return cache.get_conv_state(0)[..., 1:].mT


PAIRS = {
    "Mamba": OfMamba,
    "Mamba of Jamba": OfJamba,
    "Mamba-2": lambda: OfMamba2(1),
    "Mamba-2 in groups": lambda: OfMamba2(2),
    "RWKV-4": OfRWKV4,
    "RG-LRU": lambda: OfRGLRU(1),
    "RG-LRU in blocks": lambda: OfRGLRU(4),
    "attention with RoPE": OfAttention,
    "latent attention": OfLatentAttention,
}
