"""A mixer that joins a study, with the surroundings that suit it there."""

from __future__ import annotations

from recollect.mixers.catalogue import MixerSpec
from recollect.models.config import ModelConfig
from recollect.studies.labels import model_label, recipe
from recollect.studies.study import Study


def with_mixer(study: Study, spec: MixerSpec) -> Study:
    """Add a mixer to a study, in every size that its models with a single mixer have.

    Its surroundings are everything but mixer and size. They are those of the same mixer with other
    options, if the study has it; else those that all mixers share. If none are shared, as in the
    zoo, they are the surroundings that change the fewest defaults, and the mixer rotates queries
    and keys if it can and another one does. A mixer that cannot rotate gets `positions="auto"` in
    place of "rope".
    """
    single = [model for model in study.models if len(model.mixer) == 1] or list(study.models)
    by_recipe = {_surroundings(model): model for model in single}
    of_mixers: dict[str, set[str]] = {}
    for model in single:
        of_mixers.setdefault(model.mixer[0].mixer, set()).add(_surroundings(model))
    found = of_mixers.get(spec.mixer) or set.intersection(*of_mixers.values())
    chosen = [model for text, model in by_recipe.items() if text in found]
    if not chosen:
        plainest = by_recipe[min(by_recipe, key=_changes)]
        rotates = spec.takes("rope") and any(model.positions == "rope" for model in single)
        chosen = [plainest.replace(mixer=spec, positions="rope") if rotates else plainest]
    sizes = dict.fromkeys((model.d_model, model.n_layers) for model in single)
    added = [
        _with_positions(model, spec).replace(mixer=spec, d_model=d_model, n_layers=n_layers)
        for d_model, n_layers in sizes
        for model in chosen
    ]
    models = [*study.models, *{model_label(model): model for model in added}.values()]
    return study.replace(models=models)


def has_mixer(study: Study, spec: MixerSpec) -> bool:
    """Whether a study has models with this mixer alone."""
    return any(model.mixer == (spec,) for model in study.models)


def _surroundings(model: ModelConfig) -> str:
    """The recipe of a model, without what depends on its mixer."""
    return recipe(model.replace(mixer="attention"))


def _changes(text: str) -> int:
    """The number of settings in a recipe."""
    return len(text.split(", ")) if text else 0


def _with_positions(model: ModelConfig, spec: MixerSpec) -> ModelConfig:
    """A model whose positions a mixer can have."""
    fits = model.positions != "rope" or spec.takes("rope")
    return model if fits else model.replace(positions="auto")
