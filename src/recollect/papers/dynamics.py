"""Revisiting associative recall: training dynamics of one layer (figure 6)."""

from __future__ import annotations

from recollect.analysis.phase_change import LEAST_FALL, SUDDEN
from recollect.papers.claims import Claim
from recollect.papers.laptop import CHOOSING, ONE_LAYER_TRAIN, SEEDS, TWO_LAYERS
from recollect.papers.measures import FALL, STEEPNESS
from recollect.papers.parts import Part
from recollect.papers.predicates import recalls_one_pair, solves
from recollect.papers.reproduction import Reproduction, register_reproduction
from recollect.papers.revisiting import ATTENTION, PAPER, UNPUBLISHED, paper_models, paper_study
from recollect.papers.scale import is_paper
from recollect.papers.selectors import MIXER, TASK, Where
from recollect.studies.grid import models_grid
from recollect.studies.shipped import register_study
from recollect.studies.study import Study
from recollect.tasks.mqar import MQAR

FIGURE6 = "revisiting-figure6"
PLACE = (256, 16)
"""Sequence length and number of pairs in the paper."""
PAPER_TASK = MQAR(seq_len=PLACE[0], num_kv_pairs=PLACE[1], slot_order="drawn")
MANY_PAIRS = MQAR(seq_len=128, num_kv_pairs=16, vocab_size=512)
"""The laptop's task with a plateau for attention: many pairs to search, few token ids to learn."""
FEW_PAIRS = TWO_LAYERS
"""The laptop's task that Mamba solves within the budget."""


@register_study(FIGURE6)
def figure6(scale: str) -> Study:
    """Loss and accuracy over training; at the paper's scale, figure 3 has the same trials."""
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
        train=ONE_LAYER_TRAIN.replace(steps=1500),
        search=CHOOSING.replace(refine=0),
        seeds=SEEDS,
        observe=True,
    )


ON_MANY: Where = {TASK: (MANY_PAIRS.label, PAPER_TASK.label)}
ON_FEW: Where = {TASK: (FEW_PAIRS.label, PAPER_TASK.label)}
FOR_ATTENTION = "{} on 128 tokens with 512 token ids: that task serves to give attention a plateau"
WHY_SUDDEN = "a drop twice as steep as a smooth curve at the same place is sudden"


def _drops_suddenly(cells: Where) -> Part:
    return Part(cells=cells, measure=STEEPNESS, at_least=SUDDEN, of="best", why=WHY_SUDDEN)


register_reproduction(
    Reproduction(
        name=FIGURE6,
        title="How one layer learns",
        paper=PAPER,
        place="figure 6",
        functions=(figure6,),
        differs="Here: width 64, no MLP, 64 tokens with 4 pairs and 8,192 token ids, and 128 tokens"
        " with 16 pairs and 512 ids, 1,500 steps with new examples. Paper: widths 64 to 2,048, 256"
        " tokens with 16 pairs and 8,192 ids, 100 epochs. Attention is judged on 128 tokens, where"
        " it has a plateau; Hyena and Mamba on 64 tokens, which Mamba solves within the budget.",
        figure="dynamics",
        unpublished=UNPUBLISHED,
        claims=(
            Claim(
                "attention-drops-in-vain",
                "The loss of one layer of attention drops suddenly, while it goes on recalling"
                " about one pair.",
                "section 6 and figure 6",
                (
                    _drops_suddenly({MIXER: "attention", **ON_MANY}),
                    recalls_one_pair({MIXER: "attention", **ON_MANY}),
                ),
                left_out=(
                    "attention on 64 tokens with 8,192 token ids: no plateau precedes its drop"
                    " there",
                ),
            ),
            Claim(
                "hyena-is-smooth",
                "Hyena learns smoothly.",
                "section 6 and figure 6",
                (
                    Part(
                        cells={MIXER: "hyena", **ON_FEW},
                        measure=FALL,
                        at_least=LEAST_FALL,
                        of="best",
                        why="the right answer becomes e times as likely; a loss that does not fall"
                        " would be smooth too",
                    ),
                    Part(
                        cells={MIXER: "hyena", **ON_FEW},
                        measure=STEEPNESS,
                        below=SUDDEN,
                        of="best",
                        why=WHY_SUDDEN,
                    ),
                ),
                left_out=(FOR_ATTENTION.format("Hyena"),),
            ),
            Claim(
                "mamba-drops-and-solves",
                "Mamba's loss drops suddenly too, and it solves the task.",
                "section 6 and figure 6",
                (
                    _drops_suddenly({MIXER: "mamba", **ON_FEW}),
                    solves({MIXER: "mamba", **ON_FEW}, of="best"),
                ),
                left_out=(FOR_ATTENTION.format("Mamba"),),
            ),
        ),
    )
)
