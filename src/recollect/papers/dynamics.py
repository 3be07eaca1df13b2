"""Revisiting associative recall: how one layer comes to its solution, or does not (figure 6)."""

from __future__ import annotations

from recollect.analysis.phase_change import PhaseChange, steepest_drop
from recollect.papers.claims import Claim, Finding, finding
from recollect.papers.predicates import ONE_PAIR, SOLVED, accuracies, recalled_pairs
from recollect.papers.reproduction import Reproduction, register_reproduction
from recollect.papers.results import CellResults, Measured, NotMeasured, Results
from recollect.papers.revisiting import (
    ATTENTION,
    CHOOSING,
    ONE_LAYER,
    ONE_LAYER_TRAIN,
    PAPER,
    SEEDS,
    UNPUBLISHED,
    paper_models,
    paper_study,
)
from recollect.papers.scale import is_paper
from recollect.studies.study import Study, models_grid, register_study

FIGURE6 = "revisiting-figure6"


@register_study(FIGURE6)
def figure6(scale: str) -> Study:
    """Loss and accuracy over training; the trials are among those of figure 3."""
    title = "How one layer learns"
    if is_paper(FIGURE6, scale):
        models = paper_models([ATTENTION, "hyena", "mamba"], n_layers=[1])
        return paper_study(FIGURE6, title=title, models=models, places=[(256, 16)])
    return Study(
        FIGURE6,
        title=title,
        tasks=[ONE_LAYER],
        models=models_grid(["attention", "hyena", "mamba"], d_model=[16, 32, 64], n_layers=[1]),
        train=ONE_LAYER_TRAIN,
        search=CHOOSING,
        seeds=SEEDS,
    )


def shown(results: Results, mixer: str) -> CellResults:
    """The model whose training is looked at, as in the paper: the narrowest that solves the task,
    or else the widest."""
    cells = sorted(results.select(mixer=mixer), key=lambda cell: cell.cell.d_model)
    solving = [cell for cell in cells if cell.accuracy().value >= SOLVED]
    return solving[0] if solving else cells[-1]


def _attention_drops_in_vain(results: Results) -> Finding:
    cell = shown(results, "attention")
    pairs = recalled_pairs(cell)
    evidence, sudden = _drops(cell)
    holds = sudden and ONE_PAIR[0] <= pairs.value <= ONE_PAIR[1]
    return finding(holds, f"{evidence}; {pairs} pairs recalled", {f"{cell}: pairs": pairs})


def _hyena_is_smooth(results: Results) -> Finding:
    cell = shown(results, "hyena")
    evidence, sudden = _drops(cell)
    return finding(not sudden, evidence, accuracies([cell]))


def _mamba_drops_and_solves(results: Results) -> Finding:
    cell = shown(results, "mamba")
    evidence, sudden = _drops(cell)
    holds = sudden and cell.accuracy().value >= SOLVED
    return finding(holds, f"{evidence}; accuracy {cell.accuracy()}", accuracies([cell]))


def _drops(cell: CellResults) -> tuple[str, bool]:
    """The steepest drops of the validation loss, in words; whether those of most seeds are
    sudden."""
    found = [_steepest(cell, i) for i in range(len(cell.cell.seeds))]
    drops = [drop for drop in found if drop is not None]
    sudden = [drop for drop in drops if drop.is_sudden]
    if not drops:
        return f"{cell}: the loss never falls", False
    size, smooth, step = (
        Measured.over(getattr(drop, name) for drop in drops)
        for name in ("size", "smooth_size", "step")
    )
    words = (
        f"{cell}: the loss falls most, by {size} nats, about step {step.value:.0f}, where a smooth"
        f" fall has {smooth}; a sudden drop in {len(sudden)} of {len(found)} seeds"
    )
    return words, 2 * len(sudden) > len(found)


def _steepest(cell: CellResults, seed: int) -> PhaseChange | None:
    curves = cell.curves()
    if len(curves) <= seed:
        raise NotMeasured(f"no history of {cell}")
    curve = curves[seed].dropna(subset="valid_loss").sort_values("step")
    return steepest_drop(list(curve["step"]), list(curve["valid_loss"]))


register_reproduction(
    Reproduction(
        name=FIGURE6,
        title="How one layer learns",
        paper=PAPER,
        place="figure 6",
        functions=(figure6,),
        differs="Widths 16 to 64 without MLP on 16 tokens with 4 pairs of 128 ids, in place of 64"
        " to 2,048 on 256 tokens with 16 pairs of 8,192; 800 steps with new examples in place of"
        " 100 epochs.",
        figure="training",
        unpublished=UNPUBLISHED,
        claims=(
            Claim(
                "attention-drops-in-vain",
                "The loss of one layer of attention drops suddenly, while it goes on recalling"
                " about one pair.",
                "section 6 and figure 6",
                _attention_drops_in_vain,
            ),
            Claim(
                "hyena-is-smooth",
                "Hyena learns smoothly.",
                "section 6 and figure 6",
                _hyena_is_smooth,
            ),
            Claim(
                "mamba-drops-and-solves",
                "Mamba's loss drops suddenly too, and it solves the task.",
                "section 6 and figure 6",
                _mamba_drops_and_solves,
            ),
        ),
    )
)
