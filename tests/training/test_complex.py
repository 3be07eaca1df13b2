"""Complex numbers stay complex: such a mixer trains as its twin with pairs of real ones."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

import recollect as rc
from recollect.training.checkpoint import (
    build_model,
    load_weights,
    read_tensors,
    save_weights,
    write_tensors,
)
from recollect.training.config import TrialConfig
from recollect.training.population import run_population
from recollect.training.trial import run_trial

TASK = rc.MQAR(seq_len=8, num_kv_pairs=1, vocab_size=16)
TRAIN = rc.TrainConfig(
    learning_rate=1e-2, steps=6, batch_size=4, eval_every=3, valid_examples=8, test_examples=16
)


class Poles(nn.Module):
    """h_t = lambda h_{t-1} + b u_t with a rotation of the input: complex parameters and buffer."""

    def __init__(self, d_model: int) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(0)
        numbers = torch.randn(2, d_model, dtype=torch.complex64, generator=generator)
        angles = torch.arange(d_model) * 0.3
        self.put("poles", nn.Parameter(0.9 * numbers[0] / numbers[0].abs()))
        self.put("b", nn.Parameter(numbers[1]))
        self.put("rotation", torch.polar(torch.ones(d_model), angles))

    def put(self, name: str, value: torch.Tensor) -> None:
        if isinstance(value, nn.Parameter):
            self.register_parameter(name, value)
        else:
            self.register_buffer(name, value, persistent=False)

    def get(self, name: str) -> torch.Tensor:
        return getattr(self, name)

    def forward(self, x):
        u = x * self.get("rotation") * self.get("b")
        h, outputs = torch.zeros_like(u[:, 0]), []
        for t in range(x.shape[1]):
            h = self.get("poles") * h + u[:, t]
            outputs.append(h.real)
        return torch.stack(outputs, 1)


class Pairs(Poles):
    """The same with pairs of real numbers."""

    def put(self, name: str, value: torch.Tensor) -> None:
        pair = torch.view_as_real(value.detach()).clone()
        super().put(name, nn.Parameter(pair) if isinstance(value, nn.Parameter) else pair)

    def get(self, name: str) -> torch.Tensor:
        return torch.view_as_complex(getattr(self, name))


class Rotates(nn.Module):
    """A complex buffer alone, as the rotary table of Llama's reference code."""

    def __init__(self, d_model: int, max_len: int) -> None:
        super().__init__()
        self.proj = nn.Linear(d_model, d_model)
        angles = torch.outer(torch.arange(max_len), 1.0 / torch.arange(1, d_model // 2 + 1))
        self.register_buffer("table", torch.polar(torch.ones_like(angles), angles))

    def forward(self, x):
        z = torch.view_as_complex(self.proj(x).unflatten(-1, (-1, 2)).contiguous())
        return torch.view_as_real(z * self.table[: x.shape[1]]).flatten(-2).cumsum(1)


def _trial(mixer: type[nn.Module], seed: int = 1, **train: object) -> TrialConfig:
    model = rc.ModelConfig(mixer=mixer, d_model=4, n_layers=1, positions=None)
    return TrialConfig(
        task=TASK, model=model, train=TRAIN.replace(**train), seeds=rc.Seeds.of(seed)
    )


@pytest.mark.parametrize("train", [{}, {"dtype": "float64"}, {"grad_clip": 0.1}], ids=str)
def test_it_trains_as_its_twin_of_real_numbers(train: dict[str, object]) -> None:
    one, twin = (run_trial(_trial(mixer, **train)) for mixer in (Poles, Pairs))
    rtol = 1e-10 if "dtype" in train else 1e-5
    for record, expected in zip(one.history, twin.history, strict=True):
        assert record.train_loss == pytest.approx(expected.train_loss, rel=rtol)
    assert one.parameters == twin.parameters
    poles, pairs = (result.model.layers[0].mixer for result in (one, twin))
    torch.testing.assert_close(torch.view_as_real(poles.poles), pairs.poles, rtol=rtol, atol=1e-6)


def test_it_trains_in_mixed_precision() -> None:
    config = _trial(Poles, dtype="bfloat16")
    module = run_trial(config).model.layers[0].mixer
    assert module.poles.dtype == torch.complex64
    assert module.poles.imag.abs().min() > 0


@pytest.mark.parametrize(
    ("dtype", "complex_dtype"), [("float32", torch.complex64), ("float64", torch.complex128)]
)
@pytest.mark.parametrize("mixer", [Poles, Rotates])
def test_building_saving_and_loading_keep_it(
    tmp_path: Path, mixer: type[nn.Module], dtype: str, complex_dtype: torch.dtype
) -> None:
    config = _trial(mixer, dtype=dtype)
    model = build_model(config)
    before = [*model.layers[0].mixer.parameters(), *model.layers[0].mixer.buffers()]
    assert complex_dtype in {tensor.dtype for tensor in before}
    with torch.no_grad():
        for tensor in before:
            tensor.add_(tensor, alpha=0.5)
    save_weights(model, tmp_path / "weights.safetensors")
    module = load_weights(config, tmp_path / "weights.safetensors").layers[0].mixer
    after = [*module.parameters(), *module.buffers()]
    assert [tensor.dtype for tensor in after] == [tensor.dtype for tensor in before]
    assert all(torch.equal(a, b) for a, b in zip(after, before, strict=True))


def test_a_trial_that_goes_on_gives_the_same_to_the_bit(tmp_path: Path) -> None:
    config, path = _trial(Poles), tmp_path / "checkpoint.safetensors"
    run_trial(config, until=3, checkpoint=path)
    resumed, whole = run_trial(config, checkpoint=path), run_trial(config)
    assert resumed.test == whole.test
    for p, q in zip(resumed.model.parameters(), whole.model.parameters(), strict=True):
        assert torch.equal(p, q)


def test_real_weights_for_complex_parameters_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "weights.safetensors"
    save_weights(build_model(_trial(Poles)), path)
    tensors, texts = read_tensors(path)
    real = {n: t.real.contiguous() if t.is_complex() else t for n, t in tensors.items()}
    assert {n: t.shape for n, t in real.items()} == {n: t.shape for n, t in tensors.items()}
    write_tensors(path, real, texts)
    with pytest.raises(rc.UserError, match="weights of another model"):
        load_weights(_trial(Poles), path)


def test_a_file_of_tensors_keeps_every_number(tmp_path: Path) -> None:
    tensors = {
        "conjugate": torch.randn(3, dtype=torch.complex128).conj(),
        "scalar": torch.tensor(1 + 2j),
        "empty": torch.zeros(0, 2, dtype=torch.complex64),
        "pair": torch.randn(3, 2),
        "half": torch.randn(2).bfloat16(),
    }
    write_tensors(tmp_path / "a", tensors, {"said": "something"})
    read, texts = read_tensors(tmp_path / "a")
    assert texts == {"said": "something"}
    assert read.keys() == tensors.keys()
    for name, tensor in tensors.items():
        assert read[name].dtype == tensor.dtype
        assert torch.equal(read[name], tensor)


def test_in_a_population_it_is_trained_alone_with_a_message() -> None:
    configs = [_trial(Poles, seed) for seed in (1, 2)]
    with pytest.warns(UserWarning, match=r"one model at a time: blocks\.0\.mixer\.poles is comp"):
        results = dict(run_population(configs))
    assert results[0].test == run_trial(configs[0]).test


def test_a_complex_buffer_is_no_hindrance_to_a_population() -> None:
    configs = [_trial(Rotates, seed) for seed in (1, 2)]
    results = dict(run_population(configs))
    alone = run_trial(configs[1])
    assert results[1].history[-1].train_loss == pytest.approx(alone.history[-1].train_loss, 1e-4)
