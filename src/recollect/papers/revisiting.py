"""The protocol of "Revisiting associative recall in modern recurrent models" (Okpekpe and Orvieto,
2025, arXiv 2508.19029).

Settings that the paper does not print are those of the code it builds on, Zoology's: mixer options,
initialisation, weight decay of all parameters, dropout, cosine decay to zero after the warm-up, a
stop at 99 % accuracy, and data that query early pairs early.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from recollect.mixers.catalogue import MixerSpec, mixer
from recollect.models.config import Init, ModelConfig
from recollect.papers.reproduction import Unpublished
from recollect.papers.scale import in_epochs
from recollect.studies.grid import models_grid
from recollect.studies.search import FixedGrid
from recollect.studies.study import Study
from recollect.tasks.mqar import MQAR
from recollect.training.config import TrainConfig

PAPER = "Okpekpe and Orvieto, 2025, arXiv 2508.19029"

EPOCHS = 100
TRAIN_EXAMPLES = 100_000
SEEDS = (42, 123, 777)
"""The seeds of the paper's first version; a later version uses five unnamed seeds."""
WIDTHS = (64, 128, 256, 512, 1024, 2048)
PLACES = ((64, 4), (128, 8), (256, 16), (512, 64))
"""Sequence lengths with their numbers of pairs."""
BATCH_SIZES = {64: 512, 128: 512, 256: 256, 512: 128}
"""Batch sizes by sequence length."""
FINE_RATES = tuple(float(f"{10 ** (k / 6 - 4):.3g}") for k in range(19))
"""Six rates per decade from 1e-4 to 1e-1; every fourth of the lower ones is in Zoology's grid."""
ATTENTION = mixer("attention", dropout=0.1)
H3 = mixer("h3", d_state=None, head_dim=2, train_B=True)
RWKV = mixer("rwkv4", init="zoology")
RESCALED = ("attention", "hyena")
"""Mixers whose output map Zoology's code rescales, because it is named `out_proj` there. The map
has other names in H3, Based, RWKV and DeltaNet, and Mamba initialises itself."""
MLP = "gelu"
"""The MLP after each mixer."""

UNPUBLISHED = (
    Unpublished("learning rates, only drawn in figures", "19 from 1e-4 to 1e-1, six per decade"),
    Unpublished("settings missing in a figure", "every length and width that the text names"),
    Unpublished("dropout, schedule after the warm-up, early stop", "those of Zoology's code"),
    Unpublished(
        "initialisation, parameters without weight decay", "Zoology's initialisation, none"
    ),
)


def paper_study(
    name: str,
    *,
    title: str,
    models: Iterable[ModelConfig],
    places: Sequence[tuple[int, int]] = PLACES,
    rates: tuple[float, ...] = FINE_RATES,
) -> Study:
    """A study by the paper's protocol, except that learning rates are chosen on validation data."""
    tasks = [MQAR(seq_len=n, num_kv_pairs=pairs, slot_order="drawn") for n, pairs in places]
    return Study(
        f"{name}-paper",
        title=title,
        tasks=tasks,
        models=tuple(models),
        train=TrainConfig(
            warmup=0.1,
            weight_decay=0.1,
            decay_all=True,
            train_examples=TRAIN_EXAMPLES,
            valid_examples=3000,
            test_examples=3000,
            stop_accuracy=0.99,
        ),
        train_overrides={
            task.label: in_epochs(EPOCHS, TRAIN_EXAMPLES, BATCH_SIZES[task.seq_len])
            for task in tasks
        },
        search=FixedGrid(rates=rates),
        seeds=SEEDS,
    )


def paper_models(
    mixers: Iterable[str | MixerSpec],
    *,
    n_layers: Sequence[int],
    d_model: Sequence[int] = WIDTHS,
    **recipe: Any,
) -> tuple[ModelConfig, ...]:
    """Every mixer at every depth and width, with MLPs and Zoology's dropout and initialisation."""
    backbone = {"mlp": MLP, "dropout": 0.1} | recipe
    return tuple(
        model.replace(init=zoology_init(model))
        for model in models_grid(mixers, d_model=d_model, n_layers=n_layers, **backbone)
    )


def zoology_init(model: ModelConfig) -> Init:
    """The initialisation of Zoology's code: it rescales all output maps, or only those of MLPs."""
    all_maps = all(spec.mixer in RESCALED for spec in model.mixer)
    return Init(rescale_residual=True if all_maps else "mlp", writes_per_layer=2)
