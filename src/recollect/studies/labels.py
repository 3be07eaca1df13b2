"""Labels of models in studies and tables."""

from __future__ import annotations

from typing import Any

from recollect.models.config import ModelConfig


def recipe(model: ModelConfig, **training: Any) -> str:
    """Text of a model's non-default settings besides mixer, width and depth, of the origin of a
    foreign mixer's initialisation, and of training settings."""
    defaults = ModelConfig(mixer=model.mixer, d_model=model.d_model, n_layers=model.n_layers)
    changed = _differences(_settings(model), _settings(defaults))
    if model.initialisation is not None:
        changed["initialisation"] = model.initialisation
    return ", ".join(f"{name}={value}" for name, value in (changed | training).items())


def model_label(model: ModelConfig) -> str:
    """Label that identifies a model within its study."""
    size = f"{model.label} d_model={model.d_model} n_layers={model.n_layers}"
    return f"{size} {recipe(model)}".rstrip()


def _settings(model: ModelConfig) -> dict[str, Any]:
    return model.model_dump(mode="json", exclude={"init": {"foreign"}})


def _differences(values: dict[str, Any], defaults: dict[str, Any]) -> dict[str, Any]:
    changed: dict[str, Any] = {}
    for name, value in values.items():
        if isinstance(value, dict):
            inner = _differences(value, defaults[name])
            changed |= {f"{name}.{key}": inner[key] for key in inner}
        elif name not in defaults or value != defaults[name]:
            changed[name] = value
    return changed
