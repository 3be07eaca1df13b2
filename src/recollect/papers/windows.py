"""Revisiting associative recall: learning-rate windows (figures 1 and 7), and the effect of tuning
on two layers (figure 2)."""

from __future__ import annotations

from typing import Any

from recollect.mixers.catalogue import mixer
from recollect.papers.bounds import Of
from recollect.papers.claims import Claim
from recollect.papers.laptop import (
    CHOOSING,
    ONE_LAYER,
    SEEDS,
    SHORT,
    TWO_LAYERS_TRAIN,
    WINDOW_TRAIN,
    WINDOWS,
    rotated_attention,
)
from recollect.papers.margins import GAIN, WHY_GAIN
from recollect.papers.measures import ACCURACY, WINDOW
from recollect.papers.parts import Part
from recollect.papers.predicates import fails, is_as_wide, is_narrower, solves
from recollect.papers.reproduction import Reproduction, register_reproduction
from recollect.papers.revisiting import (
    ATTENTION,
    H3,
    PAPER,
    RWKV,
    UNPUBLISHED,
    paper_models,
    paper_study,
)
from recollect.papers.scale import is_paper
from recollect.papers.selectors import (
    D_MODEL,
    LEAST,
    MIXER,
    MOST,
    RELATIVE_WIDTH,
    SEQ_LEN,
    STUDY,
    Limit,
)
from recollect.papers.zoology import LEARNING_RATES
from recollect.studies.grid import models_grid
from recollect.studies.search import FixedGrid
from recollect.studies.shipped import register_study
from recollect.studies.study import Study
from recollect.tasks.mqar import MQAR

FAR = Limit("<=", 0.5)
"""A length "far above" the width is at least twice the width."""

THREE_PAIRS = MQAR(seq_len=64, num_kv_pairs=3)
"""The laptop's task: few enough pairs for two narrow layers of Mamba, and enough for attention to
learn soon."""

CONVOLVED = mixer("attention", qkv_conv=3)
"""Attention with a short convolution, which the other mixers have too: then one layer suffices."""

FIGURE1, FIGURE2, FIGURE7 = "revisiting-figure1", "revisiting-figure2", "revisiting-figure7"
COARSE = f"{FIGURE2}-zoology-rates"
FINE = {STUDY: (FIGURE2, f"{FIGURE2}-paper")}
FOUR = {STUDY: (COARSE, f"{COARSE}-paper"), MIXER: "mamba"}
"""The two studies of figure 2, at either scale."""
HARDEST = {D_MODEL: LEAST, SEQ_LEN: MOST}
"""The smallest width at the largest length."""


@register_study(FIGURE1)
def figure1(scale: str) -> Study:
    """Accuracy over learning rate: attention, Hyena, Mamba."""
    title = "Learning-rate windows of attention, Hyena and Mamba"
    if is_paper(FIGURE1, scale):
        models = paper_models([ATTENTION, "hyena", "mamba"], n_layers=[2])
        return paper_study(FIGURE1, title=title, models=models)
    return _laptop_windows(FIGURE1, title, [CONVOLVED, "hyena", "mamba"], [SHORT, ONE_LAYER])


@register_study(FIGURE7)
def figure7(scale: str) -> Study:
    """Accuracy over learning rate: Mamba-2 and DeltaNet compared with Mamba and attention.

    The widths go up to 256, as in the paper's first version; attention has the two layers it needs.
    """
    title = "Learning-rate windows of Mamba-2 and DeltaNet"
    mixers = ["mamba", "mamba2", "delta-net"]
    if is_paper(FIGURE7, scale):
        models = (
            *paper_models(mixers, n_layers=[1], d_model=[64, 128, 256]),
            *paper_models([ATTENTION], n_layers=[2], d_model=[64, 128, 256]),
        )
        return paper_study(FIGURE7, title=title, models=models)
    return _laptop_windows(FIGURE7, title, [*mixers, CONVOLVED], [ONE_LAYER])


@register_study(FIGURE2)
def figure2(scale: str) -> Study:
    """Accuracy over width of two layers, tuned on a fine grid of learning rates."""
    title = "What two layers recall when tuned on a fine grid"
    if is_paper(FIGURE2, scale):
        return paper_study(FIGURE2, title=title, models=_paper_two_layers())
    models = (*rotated_attention(64), *models_grid(["hyena", "mamba"], d_model=[32]))
    # two rates per decade, including the highest of Zoology's
    search = CHOOSING.replace(low=3.16e-3, high=1e-1)
    return _laptop_two_layers(FIGURE2, title, models, search=search)


@register_study(COARSE)
def figure2_coarse(scale: str) -> Study:
    """As `figure2`, with Zoology's four learning rates.

    At the paper's scale, all trials are shared with the fine grid. On a laptop, only Mamba is run,
    which suffers from the coarse grid according to the paper.
    """
    title = "What two layers recall when tuned on Zoology's four rates"
    if is_paper(COARSE, scale):
        models = _paper_two_layers()
        return paper_study(COARSE, title=title, models=models, rates=LEARNING_RATES)
    models = models_grid(["mamba"], d_model=[32])
    return _laptop_two_layers(COARSE, title, models, search=FixedGrid(rates=LEARNING_RATES))


def _laptop_windows(name: str, title: str, mixers: list[Any], tasks: list[Any]) -> Study:
    return Study(
        name,
        title=title,
        tasks=tasks,
        models=models_grid(mixers, d_model=[64], n_layers=[1]),
        train=WINDOW_TRAIN,
        search=WINDOWS,
        seeds=SEEDS,
    )


def _paper_two_layers() -> tuple[Any, ...]:
    return paper_models([ATTENTION, "based", H3, "hyena", "mamba", RWKV], n_layers=[2])


def _laptop_two_layers(name: str, title: str, models: tuple[Any, ...], search: Any) -> Study:
    return Study(
        name,
        title=title,
        tasks=[THREE_PAIRS],
        models=models,
        train=TWO_LAYERS_TRAIN.replace(steps=1500),
        search=search,
        seeds=SEEDS,
    )


ATTENDING = {MIXER: "attention"}
MAMBA = {MIXER: "mamba"}
MAMBA2 = {MIXER: "mamba2"}

ONE_LAYER_DIFFERS = (
    "Here: one layer of width 64, no MLP, 8 and 16 tokens, 800 steps with new examples; attention"
    " has a short convolution, with which one layer solves the task. Paper: two layers, 64 to 512"
    " tokens, 100 epochs."
)

register_reproduction(
    Reproduction(
        name=FIGURE1,
        title="Learning-rate windows of attention, Hyena and Mamba",
        paper=PAPER,
        place="figure 1",
        functions=(figure1,),
        differs=ONE_LAYER_DIFFERS,
        figure="learning-rate",
        unpublished=UNPUBLISHED,
        is_quick=True,
        claims=(
            Claim(
                "mamba-window",
                "Mamba works in a narrower range of learning rates than attention.",
                "section 3 and figure 1",
                (is_narrower(MAMBA, than=ATTENDING),),
            ),
            Claim(
                "hyena-window",
                "Hyena works in a narrower range of learning rates than attention.",
                "section 3 and figure 1",
                (is_narrower({MIXER: "hyena"}, than=ATTENDING),),
            ),
        ),
    )
)

register_reproduction(
    Reproduction(
        name=FIGURE2,
        title="What two layers recall on Zoology's four rates and on a fine grid",
        paper=PAPER,
        place="figure 2",
        functions=(figure2, figure2_coarse),
        differs="Here: two layers at width 32 (attention: 64, with RoPE), no MLP, 64 tokens with 3"
        " pairs, 1,500 steps; instead of a fine grid, a search over two rates per decade from"
        " 3.16e-3 to 1e-1 and the middles around the best; Zoology's four rates only for Mamba."
        " Paper: widths of 64 and more, 64 to 512 tokens with up to 64 pairs.",
        figure="accuracy",
        unpublished=UNPUBLISHED,
        claims=(
            Claim(
                "attention-solves",
                "Two layers of attention solve the task.",
                "section 3 and figure 2",
                (solves({**FINE, **ATTENDING}),),
            ),
            Claim(
                "mamba-far-above-its-width",
                "Two layers of Mamba, tuned well, solve lengths far above their width.",
                "section 3 and figure 2",
                (solves({**FINE, **MAMBA, RELATIVE_WIDTH: FAR}),),
            ),
            Claim(
                "hyena-needs-width",
                "Two layers of Hyena fail at small widths where Mamba does not.",
                "sections 3 and 4 and figure 2",
                (
                    fails({**FINE, MIXER: "hyena", **HARDEST}),
                    solves({**FINE, **MAMBA, **HARDEST}),
                ),
            ),
            Claim(
                "four-rates-miss-mamba",
                "Zoology's grid of four learning rates misses what a finer one finds for Mamba.",
                "section 3 and figures 1 and 2",
                (
                    solves({**FINE, **MAMBA, **HARDEST}),
                    Part(
                        cells={**FINE, **MAMBA, **HARDEST},
                        measure=ACCURACY,
                        at_least=Of(cells=FOUR, plus=GAIN, own_rates=True),
                        converse=Of(cells=FOUR, own_rates=True),
                        why=WHY_GAIN,
                    ),
                ),
            ),
        ),
    )
)

register_reproduction(
    Reproduction(
        name=FIGURE7,
        title="Learning-rate windows of Mamba-2 and DeltaNet",
        paper=PAPER,
        place="figure 7",
        functions=(figure7,),
        differs="Here: one layer of width 64, no MLP, 16 tokens with 4 pairs, 800 steps with new"
        " examples; attention has a short convolution. Paper: widths 64 to 256, 64 to 512 tokens,"
        " 100 epochs.",
        figure="learning-rate",
        unpublished=UNPUBLISHED,
        is_quick=True,
        claims=(
            Claim(
                "delta-net-window",
                "DeltaNet works in as wide a range of learning rates as attention.",
                "section 7 and figure 7",
                (is_as_wide({MIXER: "delta-net"}, as_of=ATTENDING),),
            ),
            Claim(
                "mamba2-window",
                "Mamba-2 works in a range of learning rates only a little wider than Mamba.",
                "section 7 and figure 7",
                (
                    Part(
                        cells=MAMBA2,
                        measure=WINDOW,
                        above=Of(cells=MAMBA),
                        why="any larger width is wider",
                    ),
                    Part(
                        cells=MAMBA2,
                        measure=WINDOW,
                        below=Of(cells={MIXER: ("mamba", "delta-net")}),
                        why="only a little wider means nearer to Mamba than to DeltaNet, whose"
                        " window the paper calls as wide as attention's",
                    ),
                ),
            ),
        ),
    )
)
