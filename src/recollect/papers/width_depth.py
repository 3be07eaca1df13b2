"""Revisiting associative recall: one layer over width (figure 3), and width or depth (figure 4)."""

from __future__ import annotations

from typing import Any

import pandas as pd

from recollect.analysis.scaling import gain, state_bytes
from recollect.models.config import ModelConfig
from recollect.papers.claims import Claim, Finding, finding
from recollect.papers.laptop import (
    CHOOSING,
    ONE_LAYER,
    ONE_LAYER_TRAIN,
    SEEDS,
    TWO_LAYERS_TRAIN,
    rotated_attention,
)
from recollect.papers.measured import Measured, NotMeasured
from recollect.papers.predicates import SOLVED, recalls_one_pair
from recollect.papers.reproduction import Reproduction, Unpublished, register_reproduction
from recollect.papers.results import CellResults, Results
from recollect.papers.revisiting import ATTENTION, H3, PAPER, UNPUBLISHED, paper_models, paper_study
from recollect.papers.scale import is_paper
from recollect.studies.search import BestRateSearch
from recollect.studies.study import Study, models_grid, register_study
from recollect.tasks.mqar import MQAR

PAPER_MIXERS = (ATTENTION, H3, "hyena", "mamba", "rwkv4")
WITHOUT_BASED = Unpublished("how Based, which is of two kinds of layers, has one", "it is left out")
RECURRENT = ("h3", "hyena", "mamba", "rwkv4")
IMPROVES = 0.1
"""A gain in accuracy of at least so much is one; less may be the luck of three seeds."""
MUCH_MORE = 2.0
"""A gain so many times another's is much more than that."""
NAMES = {"d_model": "width", "n_layers": "depth"}

FIGURE3, FIGURE4 = "revisiting-figure3", "revisiting-figure4"

BOTH_DEPTHS = MQAR(seq_len=16, num_kv_pairs=4)
"""On a laptop: few tokens, which one layer of Mamba learns, and many ids, with which two layers of
attention soon leave their plateau."""


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
        train=ONE_LAYER_TRAIN,
        search=CHOOSING,
        seeds=SEEDS,
    )


@register_study(FIGURE4)
def figure4(scale: str) -> Study:
    """Accuracy over parameters, of one layer and of two."""
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
        search=BestRateSearch(low=1.7e-3, high=1.7e-2, refine=0),
        seeds=SEEDS[:2],
    )


def scaling_frame(results: Results) -> pd.DataFrame:
    """The finished cells as `cells_frame` has them, with the `layer_parameters` of each model, and
    its measured `state_bytes` after the task's length."""
    finished = [cell for cell in results.all if cell.finished]
    frame = pd.DataFrame([cell.row for cell in finished])
    return frame.assign(
        layer_parameters=[_layer_parameters(cell) for cell in finished],
        state_bytes=[_state(cell) for cell in finished],
    )


def _state(cell: CellResults) -> int | None:
    return state_bytes(_config(cell), cell.settings["seq_len"])


def _config(cell: CellResults) -> ModelConfig:
    return ModelConfig(**cell.cell.template["model"])


def _improve_with_width(results: Results) -> Finding:
    """Every recurrent model gains from the narrowest to the widest, on every task that the
    narrowest does not solve already."""
    gains, solved = {}, []
    for mixer in _recurrent(results):
        for task in dict.fromkeys(cell.cell.task for cell in results.select(mixer=mixer)):
            line = {"mixer": mixer, "task": task}
            narrowest = min(results.select(**line), key=lambda cell: cell.cell.d_model)
            if narrowest.accuracy().value >= SOLVED:
                solved.append(str(narrowest))
            else:
                gains[f"{mixer}, {task}"] = _gain(results, "d_model", **line)
    if not gains:
        raise NotMeasured("what the narrowest models do not solve already")
    holds = all(each.value >= IMPROVES for each in gains.values())
    told = [f"{name}: {each}" for name, each in gains.items()]
    told += [f"{name} solves it already" for name in solved]
    return finding(holds, f"gain from the narrowest to the widest: {'; '.join(told)}", gains)


def _recurrent_gain_from_width(results: Results) -> Finding:
    """Each recurrent model gains from width, and more than from depth."""
    gains = {
        mixer: _gains(results, mixer, ("d_model", "n_layers")) for mixer in _recurrent(results)
    }
    holds = all(width.value >= max(IMPROVES, depth.value) for width, depth in gains.values())
    return _of_gains(holds, "gain", gains, dict.fromkeys(gains, ("d_model", "n_layers")))


def _attention_gains_from_depth(results: Results) -> Finding:
    """Attention gains from depth, and more than from width."""
    axes = ("n_layers", "d_model")
    depth, width = gains = _gains(results, "attention", axes)
    holds = depth.value >= max(IMPROVES, width.value)
    return _of_gains(holds, "gain", {"attention": gains}, {"attention": axes})


def _parameters_explain_neither(results: Results) -> Finding:
    """A doubling of the layers' parameters gives much more by one way than by the other: by depth
    for attention, by width for recurrent models. Were it their number, it would give the same."""
    axes = {"attention": ("n_layers", "d_model")}
    axes |= dict.fromkeys(_recurrent(results), ("d_model", "n_layers"))
    gains = {
        mixer: _gains(results, mixer, pair, "layer_parameters") for mixer, pair in axes.items()
    }
    holds = all(
        better.value >= max(IMPROVES, MUCH_MORE * worse.value) for better, worse in gains.values()
    )
    return _of_gains(holds, "gain for each doubling of the layers' parameters", gains, axes)


def _gains(
    results: Results, mixer: str, axes: tuple[str, str], per_doubling_of: str | None = None
) -> tuple[Measured, Measured]:
    """Along one axis, and along the other."""
    one, other = (_gain(results, axis, per_doubling_of, mixer=mixer) for axis in axes)
    return one, other


def _gain(
    results: Results, along: str, per_doubling_of: str | None = None, **where: Any
) -> Measured:
    """Over seeds: the models of a seed are compared with each other (`analysis.scaling.gain`)."""
    cells = results.select(**where)
    frame = pd.DataFrame([cell.row for cell in cells])
    frame["layer_parameters"] = [_layer_parameters(cell) for cell in cells]
    seeds = zip(*(cell.by_seed() for cell in cells), strict=True)
    return Measured.over(
        gain(frame.assign(test_accuracy=seed), along, per_doubling_of) for seed in seeds
    )


def _layer_parameters(cell: CellResults) -> int:
    """Without those of embedding and positions, which do not mix."""
    config, length = _config(cell), cell.settings["seq_len"]
    rows = cell.settings["vocab_size"] + (length if config.learned_positions else 0)
    return cell.parameters - int(rows) * config.d_model


def _of_gains(
    holds: bool,
    what: str,
    gains: dict[str, tuple[Measured, Measured]],
    axes: dict[str, tuple[str, str]],
) -> Finding:
    named = {
        f"{mixer} by {NAMES[axis]}": measured
        for mixer, pair in gains.items()
        for axis, measured in zip(axes[mixer], pair, strict=True)
    }
    evidence = "; ".join(f"{name}: {measured}" for name, measured in named.items())
    return finding(holds, f"{what}, {evidence}", named)


def _recurrent(results: Results) -> tuple[str, ...]:
    """Those of the experiment."""
    there = {cell.settings["mixer"] for cell in results.all}
    found = tuple(mixer for mixer in RECURRENT if mixer in there)
    if not found:
        raise NotMeasured(f"none of {', '.join(RECURRENT)}")
    return found


register_reproduction(
    Reproduction(
        name=FIGURE3,
        title="What one layer recalls, over its width",
        paper=PAPER,
        place="figure 3",
        functions=(figure3,),
        differs="Widths 16 to 64 without MLP on 16 tokens with 4 pairs of 128 ids, in place of 64"
        " to 2,048 on 64 to 512 tokens with up to 64 pairs of 8,192; 2,500 steps with new examples"
        " in place of 100 epochs.",
        figure="accuracy",
        unpublished=(*UNPUBLISHED, WITHOUT_BASED),
        claims=(
            Claim(
                "attention-recalls-one-pair",
                "One layer of attention recalls about one pair, whatever its width.",
                "section 4 and figure 3",
                recalls_one_pair(mixer="attention"),
            ),
            Claim(
                "recurrent-models-improve-with-width",
                "One layer of a recurrent model recalls more the wider it is.",
                "section 4 and figure 3",
                _improve_with_width,
                "H3 stays on the plateau of one pair on 8 tokens with 2 pairs of 32 ids, too. On"
                " the zoo's task RMSNorm, an MLP, larger initial weights and learned positions made"
                " no difference.",
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
        differs="Widths 64 and 128 of attention, and 16 and 64 of Mamba, which alone stands for the"
        " recurrent models, without MLP on 16 tokens with 4 pairs, in place of 64 to 2,048 on 256"
        " tokens with 64 pairs; 2,400 steps and two seeds.",
        figure="scaling",
        unpublished=(*UNPUBLISHED, WITHOUT_BASED),
        claims=(
            Claim(
                "recurrent-models-gain-from-width",
                "Recurrent models gain from width, and more than from depth.",
                "section 4 and figure 4",
                _recurrent_gain_from_width,
            ),
            Claim(
                "attention-gains-from-depth",
                "Attention gains from depth, and more than from width.",
                "section 4 and figure 4",
                _attention_gains_from_depth,
            ),
            Claim(
                "parameters-explain-neither",
                "The number of parameters explains neither.",
                "section 4 and figure 4",
                _parameters_explain_neither,
            ),
        ),
    )
)
