"""A user's file: a mixer and studies of one's own, whose trials take a blink."""

from functools import partial

from torch import Tensor, nn

import recollect as rc


class Mean(nn.Module):
    """Every position reads the mean of those before it."""

    def __init__(self, d_model: int, scale: float = 1.0) -> None:
        super().__init__()
        self.out_proj = nn.Linear(d_model, d_model)
        self.scale = scale

    def forward(self, x: Tensor) -> Tensor:
        return self.scale * self.out_proj(x.cumsum(dim=1) / x.shape[1])


def tiny(mixers=("attention", Mean)) -> rc.Study:
    return rc.Study(
        "tiny",
        tasks=[rc.MQAR(seq_len=16, num_kv_pairs=2, vocab_size=64)],
        models=rc.models_grid(mixers, d_model=[8, 16], n_layers=[1]),
        train=rc.TrainConfig(
            steps=4, batch_size=8, eval_every=2, valid_examples=16, test_examples=16
        ),
        search=rc.FixedGrid(rates=[1e-3, 1e-2]),
        seeds=[1, 2],
    )


def racing() -> rc.Study:
    return tiny().replace(search=rc.LearningRateSearch())


class NoNumber(nn.Module):
    """Every answer is NaN."""

    def __init__(self, d_model: int) -> None:
        super().__init__()
        self.linear = nn.Linear(d_model, d_model)

    def forward(self, x: Tensor) -> Tensor:
        return self.linear(x) * float("nan")


def diverging() -> rc.Study:
    return tiny([NoNumber])


class Failing(Mean):
    """Works until it is trained."""

    def forward(self, x: Tensor) -> Tensor:  # noqa: ARG002
        raise RuntimeError("[red]no[/]")


def half_failing() -> rc.Study:
    return tiny(["attention", Failing])


def attention_alone() -> rc.Study:
    return tiny(["attention"])


def three_heads() -> rc.Study:
    return tiny([rc.mixer("attention", n_heads=3)])


MADE = tiny()
PARTIAL = partial(tiny, ["attention"])


def of_width(width: int) -> rc.Study:
    return tiny().replace(models=rc.models_grid(["attention"], d_model=width))


def no_study() -> str:
    return "a table"
