"""A mixer that joins a study has surroundings like those of the others."""

from collections.abc import Sequence

import pytest
from small import small_study
from torch import Tensor, nn

from recollect.mixers.catalogue import MixerSpec, as_spec, mixer
from recollect.models.config import ModelConfig
from recollect.studies.grid import models_grid
from recollect.studies.joining import has_mixer, with_mixer
from recollect.studies.labels import model_label
from recollect.studies.shipped import STUDIES


class Plain(nn.Module):
    """A mixer of a user, which has nothing to rotate."""

    def __init__(self, d_model: int) -> None:
        super().__init__()
        self.proj = nn.Linear(d_model, d_model)

    def forward(self, x: Tensor) -> Tensor:
        return self.proj(x)


class Second(Plain):
    """Another one."""


class Rotating(Plain):
    """One that can rotate queries and keys."""

    def __init__(self, d_model: int, rope: bool = False) -> None:
        super().__init__(d_model)
        self.rope = rope


def added_to(models: Sequence[ModelConfig], *given: str | type[nn.Module] | MixerSpec) -> list[str]:
    """The labels of the models that mixers add to a study of these."""
    whole = small_study().replace(models=models)
    for each in given:
        whole = with_mixer(whole, as_spec(each))
    return [model_label(model) for model in whole.models[len(models) :]]


ZOO = STUDIES["zoo"]("laptop").models


def test_it_has_the_surroundings_that_all_mixers_share():
    grid = [
        *models_grid(["attention", "mamba"], d_model=[8, 16], n_layers=1),
        *models_grid(["attention", "mamba"], d_model=[8, 16], n_layers=1, mlp="gelu"),
        *models_grid(["attention"], d_model=[8, 16], n_layers=1, short_conv=3),
    ]
    expected = [
        f"Plain d_model={width} n_layers=1 {recipe}initialisation=own"
        for width in (8, 16)
        for recipe in ("", "mlp=gelu, ")
    ]
    assert added_to(grid, Plain) == expected
    second = [label.replace("Plain", "Second") for label in expected]
    assert added_to(grid, Plain, Second) == expected + second


@pytest.mark.parametrize(
    ("given", "label"),
    [
        (Plain, "Plain d_model=64 n_layers=2 initialisation=own"),
        (Rotating, "Rotating d_model=64 n_layers=2 positions=rope, initialisation=own"),
        # the same mixer with other options
        (mixer("gla", n_heads=2), "gla(n_heads=2) d_model=64 n_layers=2 short_conv=3"),
        (
            mixer("attention", n_heads=4),
            "attention(n_heads=4) d_model=64 n_layers=2 positions=rope",
        ),
    ],
)
def test_in_the_zoo_it_has_what_it_needs(given, label):
    """There attention rotates, some mixers have a short convolution, and others have neither."""
    assert added_to(ZOO, given) == [label]


def test_what_cannot_rotate_has_other_positions():
    (alone,) = added_to(models_grid(["attention"], d_model=8, positions="rope"), Plain)
    assert alone == "Plain d_model=8 n_layers=2 initialisation=own"


def test_a_mixer_of_the_study_is_known_by_what_it_is():
    study = small_study(["attention"])
    assert has_mixer(study, as_spec(mixer("attention", n_heads=1)))
    assert not has_mixer(study, as_spec(mixer("attention", n_heads=2)))
