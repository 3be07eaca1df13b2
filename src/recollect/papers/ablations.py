"""Revisiting associative recall: ablations of one layer of attention and of Mamba (table 2)."""

from __future__ import annotations

from typing import Any

from recollect.mixers.catalogue import MixerSpec, mixer
from recollect.models.config import ModelConfig
from recollect.papers.bounds import Of
from recollect.papers.claims import Claim
from recollect.papers.laptop import CHOOSING, ONE_LAYER, REPEATED_TRAIN, SEEDS
from recollect.papers.margins import LITTLE, WHY_LITTLE
from recollect.papers.measures import ACCURACY
from recollect.papers.parts import Part
from recollect.papers.predicates import fails, recalls_one_pair, solves
from recollect.papers.reproduction import (
    Published,
    Reproduction,
    Unpublished,
    register_reproduction,
)
from recollect.papers.revisiting import MLP, PAPER, UNPUBLISHED, paper_models, paper_study
from recollect.papers.scale import is_paper
from recollect.papers.selectors import MIXER, MOST, N_LAYERS, Where
from recollect.studies.grid import models_grid
from recollect.studies.shipped import register_study
from recollect.studies.study import Study

TABLE2, TWICE = "revisiting-table2", "revisiting-table2-twice"
STEPS = "train.steps"
CONV = 3
"""Width of the convolutions given to attention, as in Zoology."""
MAMBA_CONV = 4
PLACE = (512, 64)
"""Sequence length and number of pairs at the paper's scale."""

PLAIN: Where = {MIXER: "attention", "mixer.qkv_conv": 0, "model.short_conv": 0}
BEFORE: Where = {MIXER: "attention", "mixer.qkv_conv": 0, "model.short_conv": CONV}
ON_QKV: Where = {MIXER: "attention", "mixer.qkv_conv": CONV}
NO_CONV: Where = {MIXER: "mamba", "mixer.d_conv": 0, N_LAYERS: 1}
TWO_LAYERS: Where = {MIXER: "mamba", "mixer.d_conv": 0, N_LAYERS: 2, STEPS: MOST}
NO_GATE: Where = {MIXER: "mamba", "mixer.gate": False}
WHOLE: Where = {MIXER: "mamba", "mixer.d_conv": MAMBA_CONV, "mixer.gate": True, N_LAYERS: 1}
S6: Where = {MIXER: "s6", "mixer.d_conv": MAMBA_CONV}
OWN_POSITIONS: Where = {"model.positions": "auto"}
LEARNED_POSITIONS: Where = {"model.positions": "learned"}
MAMBA: Where = {**WHOLE, **OWN_POSITIONS}
HYENA: Where = {MIXER: "hyena"}
"""The settings that distinguish the rows of the table."""


@register_study(TABLE2)
def table2(scale: str) -> Study:
    """One layer of attention and Mamba with parts added and removed.

    The paper's scale has 512 tokens with 64 pairs: plain attention recalls one pair, the printed 2
    %. Each row takes its best width, as in the first version of the paper.
    """
    title = "What one layer of attention lacks, and what Mamba needs"
    if is_paper(TABLE2, scale):
        models = _rows(dropout=0.1, grid=paper_models)
        return paper_study(TABLE2, title=title, models=models, places=[PLACE])
    return Study(
        TABLE2,
        title=title,
        tasks=[ONE_LAYER],
        models=_rows(dropout=0.0, grid=_laptop_models),
        train=REPEATED_TRAIN,
        search=CHOOSING,
        seeds=SEEDS,
    )


@register_study(TWICE)
def table2_twice(scale: str) -> Study:
    """Two layers of Mamba without convolution, on a laptop with twice the steps.

    Some seeds leave their plateau late. Mamba with its convolution shows that the task can be
    solved in this training. At the paper's scale, all trials are shared with the table.
    """
    title = "Two layers of Mamba without convolution"
    unconvolved = mixer("mamba", d_conv=0)
    if is_paper(TWICE, scale):
        models = paper_models([unconvolved], n_layers=[2])
        return paper_study(TWICE, title=title, models=models, places=[PLACE])
    return Study(
        TWICE,
        title=title,
        tasks=[ONE_LAYER],
        models=_laptop_models([unconvolved, "mamba"], n_layers=[2]),
        train=REPEATED_TRAIN.replace(steps=2 * REPEATED_TRAIN.steps),
        search=CHOOSING,
        seeds=SEEDS,
    )


def _rows(*, dropout: float, grid: Any) -> tuple[ModelConfig, ...]:
    """The rows of the table, and of remarks in its text.

    Args:
        dropout: dropout on the attention weights.
        grid: gives the models of mixers and depths at all widths of the scale.
    """

    def attention(**options: Any) -> MixerSpec:
        return mixer("attention", dropout=dropout, **options)

    unconvolved = mixer("mamba", d_conv=0)
    return (
        *grid([attention(), attention(qkv_conv=CONV)], n_layers=[1]),
        *grid([attention()], n_layers=[1], short_conv=CONV),
        *grid(["mamba", unconvolved, mixer("mamba", gate=False)], n_layers=[1]),
        *grid([mixer("s6", d_conv=MAMBA_CONV)], n_layers=[1], mlp=MLP),
        *grid([unconvolved], n_layers=[2]),
        *grid(["mamba", "hyena"], n_layers=[1], positions="learned"),
        *grid(["hyena"], n_layers=[1]),
    )


def _laptop_models(mixers: Any, *, n_layers: Any, **recipe: Any) -> tuple[ModelConfig, ...]:
    return models_grid(mixers, n_layers=n_layers, d_model=[64], **recipe)


def _positions_change_little(cells: Where) -> Part:
    """Learned positions change the accuracy little, compared with none."""
    without = {**cells, **OWN_POSITIONS}
    return Part(
        cells={**cells, **LEARNED_POSITIONS},
        measure=ACCURACY,
        at_least=Of(cells=without, plus=-LITTLE),
        below=Of(cells=without, plus=LITTLE),
        why=WHY_LITTLE,
    )


def _printed(where: Where, value: float) -> Published:
    """A row of table 2; by the paper's text, attention's row holds for both places of the
    convolution."""
    setting = "one layer; task and width are not printed"
    return Published(where, value, "share of pairs", setting, "table 2")


register_reproduction(
    Reproduction(
        name=TABLE2,
        title="What one layer of attention lacks, and what Mamba needs",
        paper=PAPER,
        place="table 2",
        functions=(table2, table2_twice),
        differs="Here: width 64, no MLP (except with S6), 16 tokens with 4 pairs and 128 token ids,"
        " so that one pair is 25 %, and 6,000 steps with batches of 64 out of 16,000 examples;"
        " two layers of Mamba without convolution also have 12,000. Paper: 100 epochs of 100,000"
        " examples.",
        figure="rows",
        published=(
            _printed(PLAIN, 0.02),
            _printed(BEFORE, 0.99),
            _printed(ON_QKV, 0.99),
            _printed(MAMBA, 0.99),
            _printed(NO_CONV, 0.02),
            _printed(NO_GATE, 0.98),
            _printed(S6, 0.98),
        ),
        unpublished=(
            *UNPUBLISHED,
            Unpublished(
                "task of the table", "512 tokens with 64 pairs, of which one is the printed 2 %"
            ),
            Unpublished("width of the convolution given to attention", "3, as in Zoology"),
            Unpublished(
                "convolution of S6 + MLP", "Mamba's; without one it could not solve the task"
            ),
            Unpublished("position encodings tried", "learned positions"),
        ),
        claims=(
            Claim(
                "attention-recalls-one-pair",
                "One layer of attention recalls about one pair.",
                "table 2",
                (recalls_one_pair(PLAIN),),
            ),
            Claim(
                "convolution-before-attention",
                "With a short convolution before it, one layer of attention solves the task.",
                "section 7",
                (solves(BEFORE, of="best"),),
            ),
            Claim(
                "convolution-on-qkv",
                "With a short convolution on queries, keys and values, one layer of attention"
                " solves the task.",
                "table 2",
                (solves(ON_QKV, of="best"),),
            ),
            Claim(
                "mamba-needs-its-convolution",
                "One layer of Mamba solves the task with its convolution and fails without.",
                "section 7 and table 2",
                (solves(MAMBA, of="best"), fails(NO_CONV)),
            ),
            Claim(
                "mamba-without-gate",
                "Without its gate one layer of Mamba still solves the task.",
                "table 2",
                (solves(NO_GATE, of="best"),),
            ),
            Claim(
                "s6-and-mlp",
                "S6 and an MLP in place of Mamba solve the task.",
                "section 7 and table 2",
                (solves(S6, of="best"),),
            ),
            Claim(
                "two-layers-without-convolution",
                "With two layers Mamba solves the task without its convolution.",
                "section 7",
                (solves(TWO_LAYERS, of="best"),),
                left_out=(
                    "the same model after half the steps, where fewer seeds may have learnt",
                ),
            ),
            Claim(
                "positions-change-little",
                "Position encodings change little for recurrent models.",
                "section 7",
                (_positions_change_little(WHOLE), _positions_change_little(HYENA)),
            ),
        ),
    )
)
