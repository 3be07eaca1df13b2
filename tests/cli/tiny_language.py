"""A program: `recollect` with a reproduction that trains two language models in a moment.

The second of them kills any process that trains it for more than four steps, while there is a
file "fatal". Both are saved after every step.
"""

import os
import signal
from pathlib import Path
from weakref import WeakKeyDictionary

from torch import Tensor, nn

import recollect as rc
import recollect.training.trial
from recollect.cli.main import main
from recollect.mixers.catalogue import mixer
from recollect.papers.claims import Claim
from recollect.papers.language_parts import trails
from recollect.papers.language_plan import LanguagePlan, Tuning
from recollect.papers.reproduction import (
    LanguageModels,
    PrintedModel,
    Reproduction,
    register_reproduction,
)

recollect.training.trial.CHECKPOINT_SECONDS = 0.0

STEPS: WeakKeyDictionary[nn.Module, int] = WeakKeyDictionary()
"""Training steps by mixer; outside of the mixers, as a step must not change a model."""


class Mortal(nn.Module):
    """The mean of the past; kills its process at its fifth step."""

    def __init__(self, d_model: int) -> None:
        super().__init__()
        self.linear = nn.Linear(d_model, d_model)

    def forward(self, x: Tensor) -> Tensor:
        STEPS[self] = STEPS.get(self, 0) + self.training
        if STEPS[self] > 4 and Path("fatal").exists():
            os.kill(os.getpid(), signal.SIGKILL)
        return self.linear(x.cumsum(dim=1))


def plans(scale: str, text: str | None) -> tuple[LanguagePlan, ...]:
    return (
        LanguagePlan(
            name=f"tiny-language-{scale}",
            title="Two tiny models",
            text=text or "story.jsonl",
            tokenizer=270,
            context=16,
            models={
                "attention": rc.ModelConfig(mixer="attention", d_model=8, n_layers=1),
                "hyena": rc.ModelConfig(mixer=mixer(Mortal), d_model=8, n_layers=1),
            },
            train=rc.TrainConfig(
                steps=12, batch_size=8, eval_every=3, valid_examples=8, stop_accuracy=None
            ),
            tuning=Tuning(
                search=rc.BestRateSearch(
                    low=1e-3, high=1e-2, per_decade=1, rungs=(), refine=0, search_seeds=0
                ),
                steps=4,
            ),
            seeds=(42, 123),
            repeated=("attention",),
        ),
    )


register_reproduction(
    Reproduction(
        name="tiny-language",
        title="A tiny table of language models",
        paper="Nobody, 2025, arXiv 2500.00000",
        place="table 1",
        functions=(),
        language=LanguageModels(
            plans, (PrintedModel("hyena", 358, (10.07, 2.31), (3.83, 1.34), (10.75, 2.38), 0.98),)
        ),
        differs="All is tiny in place of large.",
        figure="perplexity",
        claims=(Claim("trail", "The second trails.", "table 1", (trails("hyena", on_hits=True),)),),
    )
)

if __name__ == "__main__":
    main()
