"""Revisiting associative recall: how one layer comes to its solution, or does not (figure 6)."""

from __future__ import annotations

from dataclasses import dataclass

from recollect.analysis.phase_change import LEAST_FALL, PhaseChange, steepest_drop
from recollect.papers.claims import Claim, Finding, finding
from recollect.papers.laptop import CHOOSING, ONE_LAYER_TRAIN, SEEDS, TWO_LAYERS
from recollect.papers.measured import Measured, NotMeasured
from recollect.papers.predicates import ONE_PAIR, SOLVED, accuracies, recalled_pairs
from recollect.papers.reproduction import Reproduction, register_reproduction
from recollect.papers.results import CellResults, Results
from recollect.papers.revisiting import ATTENTION, PAPER, UNPUBLISHED, paper_models, paper_study
from recollect.papers.scale import is_paper
from recollect.studies.study import Study, models_grid, register_study
from recollect.tasks.mqar import MQAR

FIGURE6 = "revisiting-figure6"
PLACE = (256, 16)
"""Length and pairs in the paper."""
MANY_PAIRS = MQAR(seq_len=128, num_kv_pairs=8, vocab_size=256)
"""On a laptop: so many tokens that attention waits before it finds the values, and so few ids that
it soon names what it finds."""
FEW_PAIRS = TWO_LAYERS
"""Which Mamba solves in so few steps."""


@register_study(FIGURE6)
def figure6(scale: str) -> Study:
    """Loss and accuracy over training; at the paper's scale the trials are among those of
    figure 3."""
    title = "How one layer learns"
    if is_paper(FIGURE6, scale):
        models = paper_models([ATTENTION, "hyena", "mamba"], n_layers=[1])
        study = paper_study(FIGURE6, title=title, models=models, places=[PLACE])
        return study.replace(observe=True)
    return Study(
        FIGURE6,
        title=title,
        tasks=[FEW_PAIRS, MANY_PAIRS],
        models=models_grid(["attention", "hyena", "mamba"], d_model=[64], n_layers=[1]),
        train=ONE_LAYER_TRAIN.replace(steps=1200),
        search=CHOOSING.replace(refine=0),
        seeds=SEEDS,
        observe=True,
    )


def shown(results: Results, mixer: str, laptop: MQAR) -> CellResults:
    """The model whose training is looked at, on this task of the laptop or on the paper's. As in
    the paper it is the narrowest that solves the task, or else the widest."""
    lengths = (laptop.seq_len, PLACE[0])
    cells = sorted(results.select(mixer=mixer, seq_len=lengths), key=lambda cell: cell.cell.d_model)
    solving = [cell for cell in cells if cell.accuracy().value >= SOLVED]
    return solving[0] if solving else cells[-1]


def _attention_drops_in_vain(results: Results) -> Finding:
    cell = shown(results, "attention", MANY_PAIRS)
    pairs, fall = recalled_pairs(cell), _fall(cell)
    holds = fall.is_sudden and ONE_PAIR[0] <= pairs.value <= ONE_PAIR[1]
    measured = fall.measured | {f"{cell}: pairs": pairs}
    return finding(holds, f"{fall}; {pairs} pairs recalled", measured)


def _hyena_is_smooth(results: Results) -> Finding:
    """It learns, too: a loss that stays where it is would be smooth."""
    cell = shown(results, "hyena", FEW_PAIRS)
    fall = _fall(cell)
    holds = fall.whole >= LEAST_FALL and not fall.is_sudden
    measured = fall.measured | accuracies([cell])
    return finding(holds, f"{fall}; accuracy {cell.accuracy()}", measured)


def _mamba_drops_and_solves(results: Results) -> Finding:
    cell = shown(results, "mamba", FEW_PAIRS)
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
    def whole(self) -> float:
        """How far the loss falls in all, in nats; mean over seeds."""
        return sum(drop.whole for drop in self.drops) / len(self.cell.cell.seeds)

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
        times = ", ".join(f"{drop.steepness:.2f}" for drop in self.drops)
        return (
            f"{self.cell}: the loss falls by {self.whole:.2f} nats, and most about step {step:.0f},"
            f" by {size} where a smooth fall has {smooth}, {times} times as much by seed; a sudden"
            f" drop in {self._sudden} of {len(self.cell.cell.seeds)} seeds"
        )


def _fall(cell: CellResults) -> Fall:
    found = [_steepest(cell, seed) for seed in range(len(cell.cell.seeds))]
    return Fall(cell, tuple(drop for drop in found if drop is not None))


def _steepest(cell: CellResults, seed: int) -> PhaseChange | None:
    curves = cell.curves()
    if len(curves) <= seed:
        raise NotMeasured(f"no history of {cell}")
    curve = curves[seed].dropna(subset="valid_loss").sort_values("step")
    return steepest_drop(list(curve["step"]), list(curve["valid_loss"]), cell.cell.marginal_loss)


register_reproduction(
    Reproduction(
        name=FIGURE6,
        title="How one layer learns",
        paper=PAPER,
        place="figure 6",
        functions=(figure6,),
        differs="Width 64 without MLP on 64 tokens with 4 pairs of 8,192 ids and on 128 with 8 of"
        " 256, in place of 64 to 2,048 on 256 tokens with 16 pairs of 8,192; 1,200 steps with new"
        " examples in place of 100 epochs. Attention is judged on 128 tokens of few ids, where it"
        " waits on a plateau; Hyena and Mamba on 64, which Mamba solves in so few steps.",
        figure="dynamics",
        unpublished=UNPUBLISHED,
        claims=(
            Claim(
                "attention-drops-in-vain",
                "The loss of one layer of attention drops suddenly, while it goes on recalling"
                " about one pair.",
                "section 6 and figure 6",
                _attention_drops_in_vain,
                "On 192 tokens with 12 pairs of 256 or 512 ids the drop is no steeper. Where there"
                " are fewer tokens or more ids (16 tokens of 128, 64 of 8,192) no plateau precedes"
                " it.",
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
                "On 64 tokens the drop is about twice that of the smooth curve, which is where"
                " sudden begins. On 128 it is sudden on the two seeds that learn, but they do not"
                " solve those in so few steps.",
            ),
        ),
    )
)
