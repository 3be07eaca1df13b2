"""Models whose gradients a stack would not get right are trained one at a time, with the reason."""

import pytest
import torch
from torch import nn

from recollect.mixers.catalogue import MIXERS
from recollect.models.config import ModelConfig
from recollect.tasks.mqar import MQAR
from recollect.training.agreement import compare_gradients
from recollect.training.config import Seeds, TrainConfig, TrialConfig
from recollect.training.population import run_population
from recollect.training.trial import run_trial

TASK = MQAR(seq_len=16, num_kv_pairs=2, vocab_size=32)
TRAIN = TrainConfig(
    steps=3, batch_size=4, eval_every=3, valid_examples=4, test_examples=8, learning_rate=1e-2
)


class Sums(nn.Module):
    def __init__(self, d_model: int) -> None:
        super().__init__()
        self.p, self.o = nn.Linear(d_model, d_model), nn.Linear(d_model, d_model)
        self.prepare()

    def prepare(self) -> None:
        pass

    def inner(self, x):
        return self.p(x)

    def forward(self, x):
        return self.o(torch.tanh(self.inner(x)).cumsum(1) / 4)


class ParameterHook(Sums):
    def prepare(self):
        self.o.bias.register_hook(torch.zeros_like)


class AccumulationHook(Sums):
    def prepare(self):
        def freeze(p):
            p.grad = None

        self.p.weight.register_post_accumulate_grad_hook(freeze)


class ModuleHook(Sums):
    def prepare(self):
        self.o.register_full_backward_hook(lambda _module, given, _taken: (-given[0],))


class ModulePreHook(Sums):
    def prepare(self):
        self.p.register_full_backward_pre_hook(lambda _module, taken: (taken[0] * 0.5,))


class TensorHook(Sums):
    """A reversed gradient, as in adversarial training."""

    def inner(self, x):
        y = self.p(x)
        if y.requires_grad:
            y.register_hook(torch.neg)
        return y


class BehindAZero(TensorHook):
    """No gradient comes through before the first update."""

    def prepare(self):
        nn.init.zeros_(self.o.weight)


class KeepsView(Sums):
    def prepare(self):
        self.kept = [self.p.weight.detach()[1:]]

    def inner(self, x):
        return self.p(x) + (x @ self.kept[0].T).sum(-1, keepdim=True)


class ViewAsBuffer(Sums):
    def prepare(self):
        self.register_buffer("view", self.p.weight.data.T, persistent=False)

    def inner(self, x):
        return self.p(x) + x @ self.view


class ViewInAFunction(Sums):
    def prepare(self):
        weight = self.p.weight.detach()
        self.second = lambda x: x @ weight

    def inner(self, x):
        return self.p(x) + self.second(x)


class DrawsInItsConstructor(Sums):
    """Plain numbers, which differ from seed to seed."""

    def prepare(self):
        self.gain = float(1 + 5 * torch.rand(()))

    def inner(self, x):
        return self.p(x) * self.gain


class CountsGradients(Sums):
    def prepare(self):
        self.count = [0]

    def inner(self, x):
        y = self.p(x)
        if y.requires_grad:
            y.register_hook(lambda _: self.count.append(1))
        return y


DROPPED = {
    ParameterHook: r"parameter blocks\.0\.mixer\.o\.bias has a hook on its gradients",
    AccumulationHook: r"parameter blocks\.0\.mixer\.p\.weight has a hook",
    ModuleHook: r"module blocks\.0\.mixer\.o has a hook",
    ModulePreHook: r"module blocks\.0\.mixer\.p has a hook",
    TensorHook: "the gradient of .* differs",
    BehindAZero: "the gradient of .* differs",
    KeepsView: r"mixer\.kept\.0 shares the memory of the parameter blocks\.0\.mixer\.p\.weight",
    ViewAsBuffer: r"mixer\.view shares the memory of",
    ViewInAFunction: "the gradient of .* differs",
    DrawsInItsConstructor: "the gradient of .* differs",
    CountsGradients: r"its backward pass changes blocks\.0\.mixer\.count",
}


def trials(mixer, **train) -> list[TrialConfig]:
    model = ModelConfig(mixer=mixer, d_model=8, n_layers=1)
    return [
        TrialConfig(task=TASK, model=model, train=TRAIN.replace(**train), seeds=Seeds.of(seed))
        for seed in (1, 2)
    ]


@pytest.mark.parametrize(("cls", "reason"), DROPPED.items())
def test_what_a_stack_would_drop_is_trained_alone(cls, reason):
    configs = trials(cls)
    with pytest.warns(
        UserWarning, match=f"{cls.__name__} is trained one model at a time: .*{reason}"
    ):
        results = dict(run_population(configs))
    for place, config in enumerate(configs):
        assert results[place].test == run_trial(config).test


@pytest.mark.filterwarnings("ignore:Full backward hook is firing")
def test_hooks_of_all_modules_count_too():
    handle = nn.modules.module.register_module_full_backward_hook(lambda *_: None)
    try:
        with pytest.warns(UserWarning, match="at a time: every module has a hook"):
            list(run_population(trials(Sums)))
    finally:
        handle.remove()


@pytest.mark.filterwarnings("ignore:There is a performance drop")
@pytest.mark.parametrize("mixer", [*MIXERS, Sums])
def test_rounding_is_no_difference(mixer):
    dtype = "bfloat16" if mixer in ("attention", Sums) else "float32"
    compare_gradients(trials(mixer, dtype=dtype)[0], torch.device("cpu"))
