"""Revisiting associative recall: learning-rate windows (figures 1 and 7), and what tuning does for
two layers (figure 2)."""

from __future__ import annotations

from typing import Any

from recollect.mixers.catalogue import mixer
from recollect.papers.claims import Claim, Finding, finding
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
from recollect.papers.predicates import (
    FAILED,
    SOLVED,
    accuracies,
    no_window,
    solves,
    window_is_as_wide,
    window_is_narrower,
    window_text,
)
from recollect.papers.reproduction import Reproduction, register_reproduction
from recollect.papers.results import CellResults, Results
from recollect.papers.revisiting import (
    ATTENTION,
    H3,
    PAPER,
    PLACES,
    RWKV,
    UNPUBLISHED,
    paper_models,
    paper_study,
)
from recollect.papers.scale import is_paper
from recollect.papers.zoology import LEARNING_RATES
from recollect.studies.search import FixedGrid
from recollect.studies.study import Study, models_grid, register_study
from recollect.tasks.mqar import MQAR

FAR = 2
"""A length of at least so many times the width is far above it."""

THREE_PAIRS = MQAR(seq_len=64, num_kv_pairs=3)
"""On a laptop: few enough that two narrow layers of Mamba hold them, and enough that attention soon
finds them."""

CONVOLVED = mixer("attention", qkv_conv=3)
"""Attention with the short convolution that the others bring: with it one layer is enough."""

FIGURE1, FIGURE2, FIGURE7 = "revisiting-figure1", "revisiting-figure2", "revisiting-figure7"
COARSE = f"{FIGURE2}-zoology-rates"
FINE = {"study": (FIGURE2, f"{FIGURE2}-paper")}
FOUR = {"study": (COARSE, f"{COARSE}-paper")}
"""The two studies of figure 2, at either scale."""


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
    """Accuracy over learning rate: Mamba-2 and DeltaNet beside Mamba and attention.

    Up to width 256, as the first version has it; attention has the two layers that it needs.
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
    """Accuracy over width of two layers, tuned on a fine grid."""
    title = "What two layers recall when tuned on a fine grid"
    if is_paper(FIGURE2, scale):
        return paper_study(FIGURE2, title=title, models=_paper_two_layers())
    models = (*rotated_attention(64), *models_grid(["hyena", "mamba"], d_model=[32]))
    # two rates a decade, the highest of Zoology's among them
    search = CHOOSING.replace(low=3.16e-3, high=1e-1)
    return _laptop_two_layers(FIGURE2, title, models, search=search)


@register_study(COARSE)
def figure2_coarse(scale: str) -> Study:
    """The same with Zoology's four rates: all of its trials are among those of the fine grid at the
    paper's scale. On a laptop Mamba alone, of which the paper says that it suffers."""
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
        seeds=SEEDS[:2],
    )


def _solves_far_above_its_width(results: Results) -> Finding:
    """Mamba solves a length that is far above its width."""
    cells = results.select(**FINE, mixer="mamba")
    solved = [cell for cell in cells if cell.accuracy().value >= SOLVED]
    if not solved:
        best = max(cells, key=lambda cell: cell.accuracy().value)
        return finding(False, f"solves nothing: {best} at {best.accuracy()}", accuracies(cells))
    farthest = max(solved, key=_length_over_width)
    ratio = _length_over_width(farthest)
    evidence = f"{farthest}, {ratio:g} tokens to a unit of width, at {farthest.accuracy()}"
    return finding(ratio >= FAR, evidence, accuracies(cells))


def _hyena_needs_more_width(results: Results) -> Finding:
    """At the smallest width Hyena fails a length that Mamba solves."""
    narrowest = min(cell.cell.d_model for cell in results.select(**FINE, mixer="hyena"))
    pairs = [
        (cell, results.one(**FINE, mixer="mamba", d_model=narrowest, task=cell.cell.task))
        for cell in results.select(**FINE, mixer="hyena", d_model=narrowest)
    ]
    apart = [
        (hyena, mamba)
        for hyena, mamba in pairs
        if hyena.accuracy().value < FAILED and mamba.accuracy().value >= SOLVED
    ]
    hyena, mamba = (apart or pairs)[0]
    evidence = f"{hyena} at {hyena.accuracy()}; {mamba} at {mamba.accuracy()}"
    return finding(bool(apart), evidence, accuracies(cell for pair in pairs for cell in pair))


def _four_rates_miss_mamba(results: Results) -> Finding:
    """Somewhere the fine grid solves what the four rates do not."""
    pairs = [
        (cell, results.one(**FOUR, mixer="mamba", d_model=cell.cell.d_model, task=cell.cell.task))
        for cell in results.select(**FINE, mixer="mamba")
    ]
    fine, coarse = max(pairs, key=lambda pair: pair[0].accuracy().value - pair[1].accuracy().value)
    holds = any(coarse.accuracy().value < SOLVED <= fine.accuracy().value for fine, coarse in pairs)
    evidence = f"{fine} at {fine.accuracy()}, of the four rates the best at {coarse.accuracy()}"
    measured = accuracies(fine for fine, _ in pairs) | {
        f"{coarse}, four rates": coarse.accuracy() for _, coarse in pairs
    }
    return finding(holds, evidence, measured)


def _mamba2_is_a_little_wider(results: Results) -> Finding:
    """On average Mamba-2's window is wider than Mamba's, and nearer to it than to DeltaNet's."""
    cells = {name: results.select(mixer=name) for name in ("mamba", "mamba2", "delta-net")}
    if not any(cell.window() for cell in cells["mamba"]):
        return no_window(results, "mamba")
    mean = {
        name: sum(cell.decades().value for cell in found) / len(found)
        for name, found in cells.items()
    }
    holds = 0 < mean["mamba2"] - mean["mamba"] < mean["delta-net"] - mean["mamba2"]
    listed = [cell for found in cells.values() for cell in found]
    evidence = "; ".join(f"{cell}: {window_text(cell)}" for cell in listed)
    return finding(holds, evidence, {f"{cell}: decades": cell.decades() for cell in listed})


def _length_over_width(cell: CellResults) -> float:
    return float(cell.settings["seq_len"] / cell.cell.d_model)


FROM_ONE_LAYER = (ONE_LAYER.seq_len, *(length for length, _ in PLACES))
"""The lengths on which Mamba is judged, of a laptop and of the paper."""

ONE_LAYER_DIFFERS = (
    "One layer without MLP of width 64 on examples of 8 and 16 tokens, and attention with the short"
    " convolution that lets one layer solve them, in place of two layers on 64 to 512 tokens; 800"
    " steps with new examples in place of 100 epochs. Mamba is judged on 16 tokens; those of 8 are"
    " there for Hyena, which works on no others."
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
        claims=(
            Claim(
                "mamba-window",
                "Mamba works in a narrower range of learning rates than attention.",
                "section 3 and figure 1",
                window_is_narrower("mamba", than="attention", seq_len=FROM_ONE_LAYER),
            ),
            Claim(
                "hyena-window",
                "Hyena works in a narrower range of learning rates than attention.",
                "section 3 and figure 1",
                window_is_narrower("hyena", than="attention"),
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
        differs="Two layers without MLP at one width, 32 (attention 64), on one task, 64 tokens"
        " with 3 pairs, in place of widths from 64 on and 64 to 512 tokens with up to 64 pairs;"
        " 1,500 steps and two seeds; Zoology's rates for Mamba alone.",
        figure="accuracy",
        unpublished=UNPUBLISHED,
        claims=(
            Claim(
                "attention-solves",
                "Two layers of attention always solve the task.",
                "section 3 and figure 2",
                solves(**FINE, mixer="attention"),
            ),
            Claim(
                "mamba-far-above-its-width",
                "Two layers of Mamba, tuned well, solve lengths far above their width.",
                "section 3 and figure 2",
                _solves_far_above_its_width,
            ),
            Claim(
                "hyena-needs-width",
                "Two layers of Hyena fail at small widths where Mamba does not.",
                "sections 3 and 4 and figure 2",
                _hyena_needs_more_width,
            ),
            Claim(
                "four-rates-miss-mamba",
                "Zoology's grid of four learning rates misses what a finer one finds for Mamba.",
                "section 3 and figures 1 and 2",
                _four_rates_miss_mamba,
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
        differs="One layer without MLP of width 64 on 16 tokens with 4 pairs, attention with a"
        " short convolution, in place of widths 64 to 256 on 64 to 512 tokens; 800 steps with new"
        " examples in place of 100 epochs.",
        figure="learning-rate",
        unpublished=UNPUBLISHED,
        claims=(
            Claim(
                "delta-net-window",
                "DeltaNet works in as wide a range of learning rates as attention.",
                "section 7 and figure 7",
                window_is_as_wide("delta-net", as_of="attention"),
            ),
            Claim(
                "mamba2-window",
                "Mamba-2 works in a range of learning rates only a little wider than Mamba.",
                "section 7 and figure 7",
                _mamba2_is_a_little_wider,
                "With 2,500 steps, on one seed, both windows reach further down and up to 1e-1 at"
                " least; their lower edges still differ by most of a decade.",
            ),
        ),
    )
)
