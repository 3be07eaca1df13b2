"""Ready adaptations of mixers in other libraries, if these are installed.

`hf:MODEL_TYPE` is the mixer of an architecture in `transformers`; `fla:LayerName` is a layer of
flash-linear-attention; `mamba_ssm:Mamba2` is a mixer of the authors of Mamba.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib.util import find_spec
from typing import Any

from recollect.errors import UserError, unknown
from recollect.identity import import_class
from recollect.mixers.adaptation import Adaptation
from recollect.mixers.inference import infer_adaptation
from recollect.mixers.transformers_mixers import HF

PACKAGES = {
    "hf": ("transformers", "transformers"),
    "fla": ("fla.layers", "flash-linear-attention"),
    "mamba_ssm": ("mamba_ssm", "mamba-ssm"),
}
"""The module to import and the package to install, by the prefix of the name."""
STEPS = "recollect.mixers.mamba_ssm_steps"
MAMBA_SSM = {
    "Mamba": f"{STEPS}:step_with_length",
    "Mamba2": f"{STEPS}:step_with_length",
    "Mamba3": f"{STEPS}:step_without_length",
}
"""The step of each mixer of mamba-ssm."""


def is_ready(name: str) -> bool:
    """Return whether a name has the form of a ready adaptation."""
    return name.partition(":")[0] in PACKAGES and ":" in name


def ready(name: str, options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields of a mixer's spec: class, options and adaptation.

    Args:
        name: `hf:MODEL_TYPE`, `fla:LayerName` or `mamba_ssm:Mamba2`.
        options: the user's options, which override the ready ones.

    Raises:
        UserError: if the name is unknown, or the package is not installed.
    """
    kind, _, what = name.partition(":")
    module, package = PACKAGES[kind]
    if not _is_installed(module):
        raise UserError(f"{name} needs the package {package}: pip install {package}")
    adapted = {"hf": _of_transformers, "fla": _of_fla, "mamba_ssm": _of_mamba_ssm}
    return adapted[kind](what, options)


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
    read = infer_adaptation(
        import_class(place),
        [*given, *found.sizes],
        config=found.config and f"transformers.models.{found.config}",
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


def _of_mamba_ssm(what: str, options: Mapping[str, Any]) -> dict[str, Any]:
    if what not in MAMBA_SSM:
        raise unknown("mixer of mamba-ssm", what, MAMBA_SSM)
    place = f"mamba_ssm:{what}"
    how = infer_adaptation(import_class(place), options).replace(
        initial_state=f"{STEPS}:empty_cache", step=MAMBA_SSM[what], ready=place
    )
    return {"mixer": place, "options": dict(options), "adapt": how}
