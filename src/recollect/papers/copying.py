"""Revisiting associative recall: copying over the learning rate (figure 5), and with more depth or
width (table 1).

The task is that of Jelassi et al. (arXiv 2402.01032). Neither the papers nor their code say how
these models were trained, so only the laptop's scale can be run.
"""

from __future__ import annotations

from recollect.errors import UserError
from recollect.models.config import ModelConfig
from recollect.papers.cell_results import STRINGS
from recollect.papers.claims import Claim
from recollect.papers.laptop import SEEDS
from recollect.papers.measures import COPIED, COPYING_WINDOW
from recollect.papers.parts import Part
from recollect.papers.predicates import fails, is_narrower, solves
from recollect.papers.reproduction import (
    Published,
    Reproduction,
    Unpublished,
    register_reproduction,
)
from recollect.papers.revisiting import PAPER
from recollect.papers.scale import is_paper
from recollect.papers.selectors import D_MODEL, MIXER, MOST, N_LAYERS
from recollect.studies.search import BestRateSearch, LearningRateSearch
from recollect.studies.shipped import register_study
from recollect.studies.study import Study
from recollect.tasks.copying import Copy
from recollect.training.config import TrainConfig

ROBUST = 1.5
"""Decades of working rates that make a model robust to the learning rate: half of those tried."""
UNPUBLISHED = (
    Unpublished("number of steps"),
    Unpublished("lengths of the strings"),
    Unpublished("batch size and schedule"),
)

FIGURE5, TABLE1 = "revisiting-figure5", "revisiting-table1"
ATTENTION, MAMBA = {MIXER: "attention"}, {MIXER: "mamba"}

# The laptop's settings. As in the paper, twice the layers or the width WIDER double the parameters.
SHORTER, LONGER = Copy(min_length=4, max_length=6), Copy(min_length=4, max_length=7)
"""Strings that Mamba copies at many learning rates, and strings that need a wider Mamba."""
TRAIN = TrainConfig(steps=1200, batch_size=64, eval_every=50, valid_examples=500)
LAYERS, NARROW, WIDER = 2, 44, 64


@register_study(FIGURE5)
def figure5(scale: str) -> Study:
    """Copying over the learning rate: attention with RoPE, Mamba."""
    _refuse_paper(FIGURE5, scale)
    return Study(
        FIGURE5,
        title="Learning-rate windows in copying",
        tasks=[SHORTER],
        models=[_attention(WIDER), _mamba(LAYERS, WIDER)],
        train=TRAIN,
        search=LearningRateSearch(low=1e-4, high=1e-1),
        seeds=SEEDS,
    )


@register_study(TABLE1)
def table1(scale: str) -> Study:
    """Copying: Mamba with more layers or more width, at equal parameters."""
    _refuse_paper(TABLE1, scale)
    return Study(
        TABLE1,
        title="Copying with more depth or more width",
        tasks=[LONGER],
        models=[
            _attention(WIDER),
            _mamba(LAYERS, NARROW),
            _mamba(2 * LAYERS, NARROW),
            _mamba(LAYERS, WIDER),
        ],
        train=TRAIN.replace(steps=2000),
        search=BestRateSearch(low=1e-4, high=1e-1),
        seeds=SEEDS,
    )


def _refuse_paper(name: str, scale: str) -> None:
    if is_paper(name, scale):
        missing = ", ".join(each.setting for each in UNPUBLISHED)
        raise UserError(f"{name} cannot be run at paper scale: not published: {missing}")


def _attention(d_model: int) -> ModelConfig:
    return ModelConfig(
        mixer="attention", d_model=d_model, n_layers=LAYERS, positions="rope", mlp="gelu"
    )


def _mamba(n_layers: int, d_model: int) -> ModelConfig:
    """Without MLP, as its authors build it."""
    return ModelConfig(mixer="mamba", d_model=d_model, n_layers=n_layers)


def _printed(value: float, mixer: str, n_layers: int, d_model: int, setting: str) -> Published:
    """A row of table 1, and the cell of ours that corresponds to it."""
    where = {MIXER: mixer, N_LAYERS: n_layers, D_MODEL: d_model}
    return Published(where, value, "share of strings", setting, "table 1")


register_reproduction(
    Reproduction(
        name=FIGURE5,
        title="Learning-rate windows in copying",
        paper=PAPER,
        place="figure 5",
        functions=(figure5,),
        differs="Here: strings of 4 to 6 letters, 1,200 steps, attention and Mamba with 2 layers of"
        " width 64. Attention has an MLP and Mamba has none, as the paper's parameter counts imply."
        " Paper: 12 layers of width 1,024.",
        figure="learning-rate",
        metric=STRINGS,
        unpublished=UNPUBLISHED,
        is_quick=True,
        claims=(
            Claim(
                "attention-is-robust",
                "Attention with RoPE copies at a wide range of learning rates.",
                "section 5 and figure 5",
                (
                    Part(
                        cells=ATTENTION,
                        measure=COPYING_WINDOW,
                        at_least=ROBUST,
                        why="half of the decades that are tried",
                    ),
                ),
            ),
            Claim(
                "mamba-window",
                "Mamba copies in a narrower range of learning rates than attention.",
                "section 5 and figure 5",
                (is_narrower(MAMBA, than=ATTENTION, measure=COPYING_WINDOW),),
            ),
        ),
    )
)

register_reproduction(
    Reproduction(
        name=TABLE1,
        title="Copying with more depth or more width",
        paper=PAPER,
        place="table 1",
        functions=(table1,),
        differs="Here: strings of 4 to 7 letters, 2,000 steps, attention with 2 layers of width 64,"
        " Mamba with 2 layers of width 44, 4 of 44 and 2 of 64. Attention has an MLP and Mamba has"
        " none, as the paper's parameter counts imply. Paper: attention with 12 layers of width"
        " 1,024, Mamba with 12 layers of width 1,024, 24 of 1,024 and 12 of 1,408.",
        figure="rows",
        metric=STRINGS,
        unpublished=UNPUBLISHED,
        published=(
            _printed(1.0, "attention", LAYERS, WIDER, "12 layers of width 1,024, 150M"),
            _printed(0.0, "mamba", LAYERS, NARROW, "12 layers of width 1,024, 80M"),
            _printed(0.16, "mamba", 2 * LAYERS, NARROW, "24 layers of width 1,024, 150M"),
            _printed(1.0, "mamba", LAYERS, WIDER, "12 layers of width 1,408, 150M"),
        ),
        claims=(
            Claim(
                "attention-copies",
                "Attention with RoPE copies whole strings.",
                "section 5 and table 1",
                (solves(ATTENTION, measure=COPIED),),
            ),
            Claim(
                "width-not-depth",
                "Of two larger Mambas with as many parameters the wider one copies, the deeper one"
                " does not.",
                "section 5 and table 1",
                (
                    solves({**MAMBA, D_MODEL: MOST}, measure=COPIED),
                    fails({**MAMBA, N_LAYERS: MOST}, measure=COPIED),
                ),
            ),
        ),
    )
)
