"""Mixers of the architectures in `transformers`, and how to build and call each."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from recollect.mixers.adaptation import POSITIONS


@dataclass(frozen=True)
class Ready:
    """The mixer of an architecture.

    Attributes:
        place: the class, within `transformers.models`.
        options: fields of its config and arguments of its constructor, for a single layer.
        sizes: fields that depend on the width or on another part of the context.
        cache: the argument of `forward` that takes a cache; None: there is none.
        forward: further arguments of `forward`.
        state: the argument of `forward` that takes a state; None: there is none.
        config: the class of the config, within `transformers.models`; None: that of the
            constructor's annotation.
    """

    place: str
    options: Mapping[str, Any] = field(default_factory=dict)
    sizes: Mapping[str, str] = field(default_factory=dict)
    cache: str | None = "cache_params"
    forward: Mapping[str, Any] = field(default_factory=dict)
    state: str | None = None
    config: str | None = None


ALONE = {"num_hidden_layers": 1, "layer_idx": 0}
LINEAR = {**ALONE, "layer_types": ["linear_attention"]}
CONV = {**ALONE, "layer_types": ["conv"]}
MAMBA2 = {**ALONE, "mamba_n_groups": 1, "mamba_d_head": 64}
GATED_DELTA_NET = {**LINEAR, "linear_num_key_heads": 2, "linear_num_value_heads": 2}
TWO_HEADS = {
    "linear_key_head_dim": "d_model/2",
    "linear_value_head_dim": "d_model/2",
}
HF: Mapping[str, Ready] = {
    "mamba": Ready("mamba.modeling_mamba:MambaMixer", ALONE),
    "mamba2": Ready(
        "mamba2.modeling_mamba2:Mamba2Mixer",
        {**ALONE, "n_groups": 1},
        {"num_heads": "d_model/32"},
    ),
    "falcon_mamba": Ready(
        "falcon_mamba.modeling_falcon_mamba:FalconMambaMixer",
        {**ALONE, "initialize_mixer_weights": False},
    ),
    "jamba": Ready(
        "jamba.modeling_jamba:JambaMambaMixer",
        {**ALONE, "attn_layer_offset": 1, "attn_layer_period": 2},
    ),
    "bamba": Ready(
        "bamba.modeling_bamba:BambaMixer",
        {**MAMBA2, "attn_layer_indices": []},
        {"mamba_n_heads": "d_model/32"},
    ),
    "granitemoehybrid": Ready(
        "granitemoehybrid.modeling_granitemoehybrid:GraniteMoeHybridMambaLayer",
        {**MAMBA2, "layer_types": ["mamba"]},
        {"mamba_n_heads": "d_model/32"},
    ),
    "nemotron_h": Ready(
        "nemotron_h.modeling_nemotron_h:NemotronHMamba2Mixer",
        {
            "layer_idx": 0,
            "layers_block_type": ["linear_attention"],
            "n_groups": 1,
            "initialize_mixer_weights": False,
        },
        {"mamba_num_heads": "d_model/32"},
    ),
    "zamba": Ready(
        "zamba.modeling_zamba:ZambaMambaMixer",
        {**ALONE, "layers_block_type": ["linear_attention"]},
    ),
    "zamba2": Ready(
        "zamba2.modeling_zamba2:Zamba2MambaMixer",
        {
            **ALONE,
            "layers_block_type": ["linear_attention"],
            "mamba_ngroups": 1,
            "initialize_mixer_weights": False,
        },
        {"n_mamba_heads": "d_model/32"},
    ),
    "qwen3_next": Ready(
        "qwen3_next.modeling_qwen3_next:Qwen3NextGatedDeltaNet",
        GATED_DELTA_NET,
        TWO_HEADS,
    ),
    "qwen3_5": Ready(
        "qwen3_5.modeling_qwen3_5:Qwen3_5GatedDeltaNet",
        GATED_DELTA_NET,
        TWO_HEADS,
        config="qwen3_5.configuration_qwen3_5:Qwen3_5TextConfig",
    ),
    "qwen3_5_moe": Ready(
        "qwen3_5_moe.modeling_qwen3_5_moe:Qwen3_5MoeGatedDeltaNet",
        GATED_DELTA_NET,
        TWO_HEADS,
        config="qwen3_5_moe.configuration_qwen3_5_moe:Qwen3_5MoeTextConfig",
    ),
    "qwen4_exp": Ready(
        "qwen4_exp.modeling_qwen4_exp:Qwen4ExpTextGatedDeltaNet",
        GATED_DELTA_NET,
        TWO_HEADS,
    ),
    "olmo_hybrid": Ready(
        "olmo_hybrid.modeling_olmo_hybrid:OlmoHybridGatedDeltaNet",
        {
            **GATED_DELTA_NET,
            "num_hidden_layers": 2,
            "layer_types": ["linear_attention", "full_attention"],
        },
        TWO_HEADS,
    ),
    "kimi_linear": Ready(
        "kimi_linear.modeling_kimi_linear:KimiLinearDeltaAttention",
        {**LINEAR, "linear_num_heads": 2},
        {"linear_head_dim": "d_model/2"},
    ),
    "glm5_next": Ready(
        "glm5_next.modeling_glm5_next:Glm5NextTextLinearAttention",
        {**LINEAR, "linear_num_heads": 2},
        {"linear_head_dim": "d_model/2"},
    ),
    "bailing_hybrid": Ready(
        "bailing_hybrid.modeling_bailing_hybrid:BailingHybridDeltaAttention",
        {**LINEAR, "num_attention_heads": 2},
        {"head_dim": "d_model/2"},
    ),
    "minimax": Ready(
        "minimax.modeling_minimax:MiniMaxLightningAttention",
        {**LINEAR, "num_attention_heads": 2},
        {"head_dim": "d_model/2"},
        cache=None,
        forward={"position_embeddings": None, "attention_mask": None},
    ),
    "lfm2": Ready(
        "lfm2.modeling_lfm2:Lfm2ShortConv",
        CONV,
        cache="past_key_values",
    ),
    "lfm2_moe": Ready(
        "lfm2_moe.modeling_lfm2_moe:Lfm2MoeShortConv",
        CONV,
        cache="past_key_values",
    ),
    "lfm3": Ready(
        "lfm3.modeling_lfm3:Lfm3ShortConv",
        CONV,
        cache="past_key_values",
    ),
    "rwkv": Ready(
        "rwkv.modeling_rwkv:RwkvSelfAttention",
        {},
        {
            "attention_hidden_size": "d_model",
            "context_length": "max_len",
            "num_hidden_layers": "n_layers",
            "layer_id": "layer_idx",
        },
        cache=None,
        config="rwkv.configuration_rwkv:RwkvConfig",
    ),
    "recurrent_gemma": Ready(
        "recurrent_gemma.modeling_recurrent_gemma:RecurrentGemmaRecurrentBlock",
        {**ALONE, "num_attention_heads": 2},
        {"lru_width": "d_model"},
        cache=None,
        forward={"position_ids": POSITIONS, "attention_mask": None, "use_cache": False},
    ),
    "xlstm": Ready(
        "xlstm.modeling_xlstm:xLSTMLayer",
        {"num_hidden_layers": 1, "num_heads": 2, "return_last_states": True},
        cache=None,
        state="state",
    ),
}
"""Ready mixers by model type. Sizes that do not depend on the width are the published ones."""
