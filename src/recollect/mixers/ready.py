"""Ready adaptations of mixers in other libraries, if these are installed.

`hf:MODEL_TYPE` is the mixer of an architecture in `transformers`; `fla:LayerName` is a layer of
flash-linear-attention.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.util import find_spec
from typing import Any

from recollect.errors import UserError, unknown
from recollect.identity import import_class
from recollect.mixers.adaptation import POSITIONS, Adaptation
from recollect.mixers.inference import infer_adaptation

PACKAGES = {"hf": ("transformers", "transformers"), "fla": ("fla.layers", "flash-linear-attention")}
"""The module to import and the package to install, by the prefix of the name."""


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
    """

    place: str
    options: Mapping[str, Any] = field(default_factory=dict)
    sizes: Mapping[str, str] = field(default_factory=dict)
    cache: str | None = "cache_params"
    forward: Mapping[str, Any] = field(default_factory=dict)
    state: str | None = None


ALONE = {"num_hidden_layers": 1, "layer_idx": 0}
LINEAR = {**ALONE, "layer_types": ["linear_attention"]}
MAMBA2 = {**ALONE, "mamba_n_groups": 1, "mamba_d_head": 64}
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
    "qwen3_next": Ready(
        "qwen3_next.modeling_qwen3_next:Qwen3NextGatedDeltaNet",
        {**LINEAR, "linear_num_key_heads": 2, "linear_num_value_heads": 2},
        TWO_HEADS,
    ),
    "olmo_hybrid": Ready(
        "olmo_hybrid.modeling_olmo_hybrid:OlmoHybridGatedDeltaNet",
        {
            **ALONE,
            "num_hidden_layers": 2,
            "layer_types": ["linear_attention", "full_attention"],
            "linear_num_key_heads": 2,
            "linear_num_value_heads": 2,
        },
        TWO_HEADS,
    ),
    "kimi_linear": Ready(
        "kimi_linear.modeling_kimi_linear:KimiLinearDeltaAttention",
        {**LINEAR, "linear_num_heads": 2},
        {"linear_head_dim": "d_model/2"},
    ),
    "lfm2": Ready(
        "lfm2.modeling_lfm2:Lfm2ShortConv",
        {**ALONE, "layer_types": ["conv"]},
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
CONFIGS = {
    "rwkv": "rwkv.configuration_rwkv:RwkvConfig",
}
"""The class of the config, if the constructor has no annotation for it."""


def is_ready(name: str) -> bool:
    """Return whether a name has the form of a ready adaptation."""
    return name.partition(":")[0] in PACKAGES and ":" in name


def ready(name: str, options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields of a mixer's spec: class, options and adaptation.

    Args:
        name: `hf:MODEL_TYPE` or `fla:LayerName`.
        options: the user's options, which override the ready ones.

    Raises:
        UserError: if the name is unknown, or the package is not installed.
    """
    kind, _, what = name.partition(":")
    module, package = PACKAGES[kind]
    if not _is_installed(module):
        raise UserError(f"{name} needs the package {package}: pip install {package}")
    return _of_transformers(what, options) if kind == "hf" else _of_fla(what, options)


def ready_options(how: Adaptation | None) -> Mapping[str, Any]:
    """Return the options that a ready adaptation sets."""
    name = how.ready if how is not None else None
    return HF[name.removeprefix("hf:")].options if name and name.startswith("hf:") else {}


def _is_installed(module: str) -> bool:
    try:
        return find_spec(module) is not None
    except ModuleNotFoundError:  # the parent package is missing
        return False


def _of_transformers(what: str, options: Mapping[str, Any]) -> dict[str, Any]:
    if what not in HF:
        raise unknown("architecture of transformers", what, HF)
    found = HF[what]
    place = f"transformers.models.{found.place}"
    given = {**found.options, **options}
    config = CONFIGS.get(what)
    read = infer_adaptation(
        import_class(place),
        [*given, *found.sizes],
        config=config and f"transformers.models.{config}",
    )
    how = read.replace(
        given={**read.given, **{n: p for n, p in found.sizes.items() if n not in options}},
        forward={**found.forward},
        cache=found.cache,
        cache_class=found.cache and "transformers.cache_utils:DynamicCache",
        state=found.state,
        ready=f"hf:{what}",
        initialise="transformers",
    )
    return {"mixer": place, "options": given, "adapt": how}


def _of_fla(what: str, options: Mapping[str, Any]) -> dict[str, Any]:
    place = f"fla.layers:{what}"
    read = infer_adaptation(import_class(place), options)
    how = read.replace(
        cache="past_key_values",
        cache_class="fla.models.utils:Cache",
        step={"use_cache": True},
        ready=f"fla:{what}",
    )
    return {"mixer": place, "options": dict(options), "adapt": how}
