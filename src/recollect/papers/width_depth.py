"""Revisiting associative recall: one layer over width (figure 3), and width or depth (figure 4)."""

from __future__ import annotations

import pandas as pd

from recollect.analysis.scaling import state_size
from recollect.models.config import ModelConfig
from recollect.papers.bounds import Of
from recollect.papers.cell_results import CellResults
from recollect.papers.claims import Claim
from recollect.papers.laptop import (
    CHOOSING,
    ONE_LAYER,
    REPEATED_TRAIN,
    SEEDS,
    TWO_LAYERS_TRAIN,
    rotated_attention,
)
from recollect.papers.margins import GAIN, MUCH_MORE, WHY_GAIN, WHY_MUCH_MORE
from recollect.papers.measures import Measure, gain_along
from recollect.papers.parts import Part
from recollect.papers.predicates import recalls_one_pair
from recollect.papers.reproduction import Reproduction, Unpublished, register_reproduction
from recollect.papers.results import PaperResults
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
from recollect.papers.selectors import MIXER, SEQ_LEN, Where
from recollect.studies.grid import models_grid
from recollect.studies.shipped import register_study
from recollect.studies.study import Study
from recollect.tasks.mqar import MQAR

PAPER_MIXERS = (ATTENTION, H3, "hyena", "mamba", RWKV)
WITHOUT_BASED = Unpublished("one-layer Based, which needs two kinds of layers", "left out")
RECURRENT = ("h3", "hyena", "mamba", "rwkv4")
IS_ATTENTION: Where = {MIXER: "attention"}
IS_RECURRENT: Where = {MIXER: RECURRENT}
BY_WIDTH, BY_DEPTH = gain_along("d_model"), gain_along("n_layers")
PER_DOUBLING_OF_WIDTH = gain_along("d_model", per_doubling=True)
PER_DOUBLING_OF_DEPTH = gain_along("n_layers", per_doubling=True)

FIGURE3, FIGURE4 = "revisiting-figure3", "revisiting-figure4"

BOTH_DEPTHS = MQAR(seq_len=16, num_kv_pairs=4)
"""The laptop's task: short enough for one layer of Mamba, and with many token ids, so that two
layers of attention soon leave their plateau."""


@register_study(FIGURE3)
def figure3(scale: str) -> Study:
    """Accuracy over width of one layer."""
    title = "What one layer recalls, over its width"
    if is_paper(FIGURE3, scale):
        models = paper_models(PAPER_MIXERS, n_layers=[1])
        return paper_study(FIGURE3, title=title, models=models)
    return Study(
        FIGURE3,
        title=title,
        tasks=[ONE_LAYER],
        models=models_grid(["attention", *RECURRENT], d_model=[16, 32, 64], n_layers=[1]),
        train=REPEATED_TRAIN,
        search=CHOOSING,
        seeds=SEEDS,
    )


@register_study(FIGURE4)
def figure4(scale: str) -> Study:
    """Accuracy over parameters, for one and two layers."""
    title = "What width and what depth give"
    if is_paper(FIGURE4, scale):
        models = paper_models(PAPER_MIXERS, n_layers=[1, 2])
        return paper_study(FIGURE4, title=title, models=models, places=[(256, 64)])
    return Study(
        FIGURE4,
        title=title,
        tasks=[BOTH_DEPTHS],
        models=(
            *rotated_attention(64, 128, n_layers=(1, 2)),
            *models_grid(["mamba"], d_model=[16, 64], n_layers=[1, 2]),
        ),
        train=TWO_LAYERS_TRAIN.replace(steps=2400),
        search=CHOOSING.replace(refine=0),
        seeds=SEEDS,
    )


def scaling_frame(results: PaperResults) -> pd.DataFrame:
    """The finished cells, as in `cells_frame`, with two more columns.

    `layer_parameters` is the number of parameters in layers, and `state_bytes` the measured
    recurrent state after the task's length.
    """
    finished = [cell for cell in results.all if cell.finished]
    frame = pd.DataFrame([cell.row for cell in finished])
    return frame.assign(
        layer_parameters=[cell.layer_parameters for cell in finished],
        state_bytes=[_state(cell) for cell in finished],
    )


def _state(cell: CellResults) -> int:
    config = ModelConfig(**cell.cell.template["model"])
    return state_size(config, cell.settings[SEQ_LEN]).bytes


def _gains(cells: Where, by: Measure) -> Part:
    return Part(cells=cells, measure=by, at_least=GAIN, converse=0.0, why=WHY_GAIN)


def _gains_more(cells: Where, by: Measure, than: Measure) -> Part:
    """A gain by one measure that exceeds the gain by another by the margin."""
    more, equal = Of(measure=than, plus=GAIN), Of(measure=than)
    return Part(cells=cells, measure=by, at_least=more, converse=equal, why=WHY_GAIN)


def _gains_much_more(cells: Where, by: Measure, than: Measure) -> Part:
    more, equal = Of(measure=than, times=MUCH_MORE), Of(measure=than)
    return Part(cells=cells, measure=by, at_least=more, converse=equal, why=WHY_MUCH_MORE)


register_reproduction(
    Reproduction(
        name=FIGURE3,
        title="What one layer recalls, over its width",
        paper=PAPER,
        place="figure 3",
        functions=(figure3,),
        differs="Here: widths 16 to 64, no MLP, 16 tokens with 4 pairs and 128 token ids, 6,000"
        " steps with batches of 64 out of 16,000 examples. Paper: widths 64 to 2,048, 64 to 512"
        " tokens with up to 64 pairs and 8,192 ids, 100 epochs of 100,000 examples.",
        figure="accuracy",
        unpublished=(*UNPUBLISHED, WITHOUT_BASED),
        claims=(
            Claim(
                "attention-recalls-one-pair",
                "One layer of attention recalls about one pair, whatever its width.",
                "section 4 and figure 3",
                (recalls_one_pair(IS_ATTENTION),),
            ),
            Claim(
                "recurrent-models-improve-with-width",
                "One layer of a recurrent model recalls more the wider it is.",
                "section 4 and figure 3",
                (_gains(IS_RECURRENT, BY_WIDTH),),
            ),
        ),
    )
)

register_reproduction(
    Reproduction(
        name=FIGURE4,
        title="Width or depth",
        paper=PAPER,
        place="figure 4",
        functions=(figure4,),
        differs="Here: widths 64 and 128 for attention, with RoPE, 16 and 64 for Mamba, the only"
        " recurrent model, no MLP, 16 tokens with 4 pairs, 2,400 steps. Paper: widths 64 to 2,048,"
        " 256 tokens with 64 pairs.",
        figure="scaling",
        unpublished=(*UNPUBLISHED, WITHOUT_BASED),
        claims=(
            Claim(
                "recurrent-models-gain-from-width",
                "Recurrent models gain from width, and more than from depth.",
                "section 4 and figure 4",
                (
                    _gains(IS_RECURRENT, BY_WIDTH),
                    _gains_more(IS_RECURRENT, BY_WIDTH, than=BY_DEPTH),
                ),
            ),
            Claim(
                "attention-gains-from-depth",
                "Attention gains from depth, and more than from width.",
                "section 4 and figure 4",
                (
                    _gains(IS_ATTENTION, BY_DEPTH),
                    _gains_more(IS_ATTENTION, BY_DEPTH, than=BY_WIDTH),
                ),
            ),
            Claim(
                "parameters-explain-neither",
                "The number of parameters explains neither.",
                "section 4 and figure 4",
                (
                    _gains(IS_ATTENTION, PER_DOUBLING_OF_DEPTH),
                    _gains_much_more(
                        IS_ATTENTION, PER_DOUBLING_OF_DEPTH, than=PER_DOUBLING_OF_WIDTH
                    ),
                    _gains(IS_RECURRENT, PER_DOUBLING_OF_WIDTH),
                    _gains_much_more(
                        IS_RECURRENT, PER_DOUBLING_OF_WIDTH, than=PER_DOUBLING_OF_DEPTH
                    ),
                ),
            ),
        ),
    )
)
