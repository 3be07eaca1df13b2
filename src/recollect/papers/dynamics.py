"""Revisiting associative recall: how one layer comes to its solution, or does not (figure 6)."""

from __future__ import annotations

import math
from dataclasses import dataclass

from recollect.analysis.learning_rate import on_plateau
from recollect.analysis.phase_change import PhaseChange, steepest_drop
from recollect.papers.claims import Claim, Finding, finding
from recollect.papers.laptop import CHOOSING, ONE_LAYER, ONE_LAYER_TRAIN, SEEDS
from recollect.papers.measured import Measured, NotMeasured
from recollect.papers.predicates import ONE_PAIR, SOLVED, accuracies, recalled_pairs
from recollect.papers.reproduction import Reproduction, register_reproduction
from recollect.papers.results import CellResults, Results
from recollect.papers.revisiting import ATTENTION, PAPER, UNPUBLISHED, paper_models, paper_study
from recollect.papers.scale import is_paper
from recollect.studies.study import Study, models_grid, register_study

FIGURE6 = "revisiting-figure6"


@register_study(FIGURE6)
def figure6(scale: str) -> Study:
    """Loss and accuracy over training; the trials are among those of figure 3."""
    title = "How one layer learns"
    if is_paper(FIGURE6, scale):
        models = paper_models([ATTENTION, "hyena", "mamba"], n_layers=[1])
        study = paper_study(FIGURE6, title=title, models=models, places=[(256, 16)])
        return study.replace(observe=True)
    return Study(
        FIGURE6,
        title=title,
        tasks=[ONE_LAYER],
        models=models_grid(["attention", "hyena", "mamba"], d_model=[16, 32, 64], n_layers=[1]),
        train=ONE_LAYER_TRAIN,
        search=CHOOSING,
        seeds=SEEDS,
        observe=True,
    )


def shown(results: Results, mixer: str) -> CellResults:
    """The model whose training is looked at, as in the paper: the narrowest that solves the task,
    or else the widest."""
    cells = sorted(results.select(mixer=mixer), key=lambda cell: cell.cell.d_model)
    solving = [cell for cell in cells if cell.accuracy().value >= SOLVED]
    return solving[0] if solving else cells[-1]


def _attention_drops_in_vain(results: Results) -> Finding:
    cell = shown(results, "attention")
    pairs, fall = recalled_pairs(cell), _fall(cell)
    holds = fall.is_sudden and ONE_PAIR[0] <= pairs.value <= ONE_PAIR[1]
    measured = fall.measured | {f"{cell}: pairs": pairs}
    return finding(holds, f"{fall}; {pairs} pairs recalled", measured)


def _hyena_is_smooth(results: Results) -> Finding:
    """It learns, too: a loss that stays where it is would be smooth."""
    cell = shown(results, "hyena")
    fall, learns = _fall(cell), not on_plateau(cell.accuracy().value, cell.cell.chance)
    measured = fall.measured | accuracies([cell])
    return finding(learns and not fall.is_sudden, f"{fall}; accuracy {cell.accuracy()}", measured)


def _mamba_drops_and_solves(results: Results) -> Finding:
    cell = shown(results, "mamba")
    fall = _fall(cell)
    holds = fall.is_sudden and cell.accuracy().value >= SOLVED
    measured = fall.measured | accuracies([cell])
    return finding(holds, f"{fall}; accuracy {cell.accuracy()}", measured)


@dataclass(frozen=True)
class Fall:
    """The steepest drops of a model's validation loss, one for each seed that has one."""

    cell: CellResults
    drops: tuple[PhaseChange, ...]

    @property
    def is_sudden(self) -> bool:
        """Whether it is in most seeds."""
        return 2 * self._sudden > len(self.cell.cell.seeds)

    @property
    def measured(self) -> dict[str, Measured]:
        """How far the loss falls at once, and how far a smooth curve does there, in nats."""
        if not self.drops:
            return {}
        return {
            f"{self.cell}: {name}": Measured.over(getattr(drop, field) for drop in self.drops)
            for name, field in (("steepest drop", "size"), ("smooth fall there", "smooth_size"))
        }

    @property
    def _sudden(self) -> int:
        return sum(drop.is_sudden for drop in self.drops)

    def __str__(self) -> str:
        if not self.drops:
            return f"{self.cell}: the loss never falls"
        size, smooth = self.measured.values()
        step = sum(drop.step for drop in self.drops) / len(self.drops)
        return (
            f"{self.cell}: the loss falls most about step {step:.0f}, by {size} nats where a smooth"
            f" fall has {smooth}; a sudden drop in {self._sudden} of {len(self.cell.cell.seeds)}"
            " seeds"
        )


def _fall(cell: CellResults) -> Fall:
    found = [_steepest(cell, seed) for seed in range(len(cell.cell.seeds))]
    return Fall(cell, tuple(drop for drop in found if drop is not None))


def _steepest(cell: CellResults, seed: int) -> PhaseChange | None:
    curves = cell.curves()
    if len(curves) <= seed:
        raise NotMeasured(f"no history of {cell}")
    curve = curves[seed].dropna(subset="valid_loss").sort_values("step")
    return steepest_drop(
        list(curve["step"]), list(curve["valid_loss"]), ceiling=cell.cell.marginal_loss or math.inf
    )


register_reproduction(
    Reproduction(
        name=FIGURE6,
        title="How one layer learns",
        paper=PAPER,
        place="figure 6",
        functions=(figure6,),
        differs="Widths 16 to 64 without MLP on 16 tokens with 4 pairs of 128 ids, in place of 64"
        " to 2,048 on 256 tokens with 16 pairs of 8,192; 2,500 steps with new examples in place of"
        " 100 epochs.",
        figure="dynamics",
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
