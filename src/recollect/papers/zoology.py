"""Zoology (Arora, Eyuboglu et al., 2023, arXiv 2312.04927).

If the paper's text and its public code differ, the scale "paper" follows the code: two layers
without MLP, no warm-up, a cosine schedule that moves once per epoch. "paper-text" follows the text:
an MLP after each mixer, and a warm-up over 10 % of the steps. Both use the code's batches of 512 to
128 examples; the text has smaller ones. From February to May 2024 the code had four layers for all
mixers except attention: `--set model.n_layers=4`. Two things differ from the code: learning rates
are chosen on validation data, and RWKV's average is computed in float32, not bfloat16.
"""

from __future__ import annotations

from typing import Any

from recollect.models.config import ModelConfig
from recollect.papers.claims import Claim
from recollect.papers.laptop import CHOOSING, SEEDS, TWO_LAYERS_TRAIN, rotated_attention
from recollect.papers.margins import SOLVED, WHY_SOLVED
from recollect.papers.measures import ACCURACY, GROWTH_OF_WIDTH
from recollect.papers.parts import Part
from recollect.papers.predicates import solves
from recollect.papers.reproduction import Reproduction, register_reproduction
from recollect.papers.revisiting import (
    ATTENTION,
    BATCH_SIZES,
    H3,
    MLP,
    PLACES,
    RWKV,
    TRAIN_EXAMPLES,
    zoology_init,
)
from recollect.papers.scale import SCALES, TEXT_SCALE, check_scale, in_epochs
from recollect.papers.selectors import (
    D_MODEL,
    MIXER,
    MOST,
    RELATIVE_WIDTH,
    SEQ_LEN,
    Limit,
    Where,
)
from recollect.studies.grid import models_grid
from recollect.studies.search import FixedGrid
from recollect.studies.shipped import register_study
from recollect.studies.study import Study
from recollect.tasks.mqar import MQAR
from recollect.training.config import TrainConfig

NAME = "zoology-figure2"
EPOCHS = 64
LEARNING_RATES = (1e-4, 4.64e-4, 2.15e-3, 1e-2)
WIDTHS = (64, 128, 256, 512)
DROPOUT = 0.1
CONVOLUTIONS = ("base-conv", "h3", "hyena")
"""The gated convolutions."""
CONVOLUTION: Where = {MIXER: CONVOLUTIONS}
NARROWER, AS_WIDE = Limit("<", 1), Limit(">=", 1)
"""Limits of width divided by length."""
GROWS = 1.5
"""A required width has grown if it is at least this many times the other."""

OTHER_MODELS = (
    "RWKV-4, Mamba and Based, which are no gated convolutions; figure and table of widths have them"
)

LENGTHS = (16, 32, 64)
"""The laptop's sequence lengths; at these, convolutions learn two pairs within the budget."""
NARROW, WIDE = (8, 16, 32, 64, 128), 256


@register_study(NAME)
def zoology_figure2(scale: str) -> Study:
    """Accuracy over width at growing lengths: attention solves all, convolutions need width."""
    check_scale(scale, (*SCALES, TEXT_SCALE))
    if scale == "paper":
        return _figure2_paper(scale, _models_of_the_code(), warmup=0.0, schedule_unit="epoch")
    if scale == TEXT_SCALE:
        return _figure2_paper(scale, _models_of_the_text(), warmup=0.1)
    return Study(
        NAME,
        title="Recall over width at growing lengths",
        tasks=[MQAR(seq_len=n, num_kv_pairs=2, vocab_size=128) for n in LENGTHS],
        models=(
            *rotated_attention(*NARROW),
            *models_grid(CONVOLUTIONS, d_model=(*NARROW, WIDE)),
            *models_grid(["rwkv4", "mamba", "based"], d_model=NARROW),
        ),
        # no warm-up, as published; with one, attention with RoPE stays on its plateau longer
        train=TWO_LAYERS_TRAIN.replace(steps=3000, eval_every=100),
        search=CHOOSING.replace(refine=0),
        seeds=SEEDS[:3],
    )


def _figure2_paper(scale: str, models: tuple[ModelConfig, ...], **schedule: Any) -> Study:
    """The published grid, except that learning rates are chosen on validation data."""
    tasks = {
        length: MQAR(seq_len=length, num_kv_pairs=count, slot_order="drawn")
        for length, count in PLACES
    }
    return Study(
        f"{NAME}-{scale}",
        title="Zoology, figure 2: recall over width at growing lengths",
        tasks=list(tasks.values()),
        models=models,
        train=TrainConfig(
            decay_all=True,
            train_examples=TRAIN_EXAMPLES,
            test_examples=3000,
            valid_examples=3000,
            stop_accuracy=0.99,
            **schedule,
        ),
        train_overrides={
            tasks[length].label: in_epochs(EPOCHS, TRAIN_EXAMPLES, batch_size)
            for length, batch_size in BATCH_SIZES.items()
        },
        search=FixedGrid(rates=LEARNING_RATES),
        seeds=(42,),
    )


def _models_of_the_code() -> tuple[ModelConfig, ...]:
    """The models of the code.

    Its `Identity` in place of an MLP adds the output of the norm before it to the residual stream.
    Mamba has its own block, without that and without dropout.
    """
    return (
        *_models_around(["base-conv", H3, "hyena", RWKV], mlp="identity"),
        *models_grid(["mamba"], d_model=WIDTHS, norm="rmsnorm", head_norm="layernorm"),
    )


def _models_of_the_text() -> tuple[ModelConfig, ...]:
    return _models_around(["base-conv", H3, "hyena", RWKV, "mamba"], mlp=MLP)


def _models_around(mixers: list[Any], mlp: str) -> tuple[ModelConfig, ...]:
    """These mixers, attention and Based; only attention has positions."""
    recipe: dict[str, Any] = {"d_model": WIDTHS, "mlp": mlp, "dropout": DROPOUT}
    models = (
        *models_grid([ATTENTION, *mixers], **recipe),
        *models_grid(["based"], positions=None, **recipe),
    )
    return tuple(model.replace(init=zoology_init(model)) for model in models)


register_reproduction(
    Reproduction(
        name=NAME,
        title="Recall over width at growing lengths",
        paper="Arora, Eyuboglu et al., 2023, arXiv 2312.04927",
        place="figure 2",
        functions=(zoology_figure2,),
        differs="Here: lengths 16 to 64 with 2 pairs and 128 token ids, widths 8 to 128"
        " (convolutions: to 256), 3,000 steps with new examples, three seeds. Paper: lengths 64 to"
        " 512 with 4 to 64 pairs and 8,192 ids, widths 64 to 512, 64 epochs. `--scale paper` has"
        " the settings of the public code, `--scale paper-text` those of the paper's text, with"
        " MLPs and a warm-up, but the code's batches.",
        further_scales=(TEXT_SCALE,),
        figure="accuracy",
        claims=(
            Claim(
                "attention-solves",
                "Two layers of attention solve every length at the smallest width.",
                "section 4 and figure 2",
                (solves({MIXER: "attention", D_MODEL: 64}),),
                left_out=(
                    "attention of other widths than 64, the paper's smallest; the table of widths"
                    " has them",
                ),
            ),
            Claim(
                "convolutions-need-width",
                "Gated convolutions solve the task only when their width is at least the length.",
                "section 4 and figure 2",
                (
                    solves({**CONVOLUTION, RELATIVE_WIDTH: AS_WIDE, SEQ_LEN: MOST}, of="best"),
                    Part(
                        cells={**CONVOLUTION, RELATIVE_WIDTH: NARROWER},
                        measure=ACCURACY,
                        below=SOLVED,
                        why=WHY_SOLVED,
                    ),
                ),
                left_out=(
                    "that they solve shorter lengths: the longest is the hardest",
                    OTHER_MODELS,
                ),
            ),
            Claim(
                "needed-width-grows",
                "The width that gated convolutions need grows with the length.",
                "section 4 and figure 2",
                (
                    Part(
                        cells=CONVOLUTION,
                        measure=GROWTH_OF_WIDTH,
                        at_least=GROWS,
                        converse=1.0,
                        why="widths differ by factors of two: the required width is at least the"
                        " next one",
                    ),
                ),
                left_out=(OTHER_MODELS,),
            ),
        ),
    )
)
