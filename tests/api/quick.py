"""A study whose trials take a blink, one of whose mixers raises in training."""

from torch import Tensor, nn

import recollect as rc

TASK = rc.MQAR(seq_len=16, num_kv_pairs=2, vocab_size=64)


class Raising(nn.Module):
    """Can be built, and raises at the first batch."""

    def __init__(self, d_model: int) -> None:
        super().__init__()
        self.linear = nn.Linear(d_model, d_model)

    def forward(self, x: Tensor) -> Tensor:  # noqa: ARG002
        raise RuntimeError("no <b>memory</b> & no hope")


def quick_study(mixers=("attention", "base-conv"), name: str = "quick", **changes) -> rc.Study:
    return rc.Study(
        name,
        tasks=TASK,
        models=rc.models_grid(mixers, d_model=8, n_layers=1),
        train=rc.TrainConfig(
            steps=4, batch_size=8, eval_every=2, valid_examples=16, test_examples=16
        ),
        search=rc.FixedGrid(rates=(1e-3, 1e-2)),
        seeds=(1, 2),
    ).replace(**changes)
