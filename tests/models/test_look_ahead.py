"""Whole models that read later tokens or mix examples, tried before they are trained."""

import warnings

import pytest
import torch
from torch import nn

import recollect as rc
from recollect.models.language_model import LanguageModel
from recollect.models.look_ahead import look_ahead_untrained
from recollect.training.config import Seeds, TrialConfig
from recollect.training.population import run_population
from recollect.training.trial import run_trial


class Mapped(nn.Module):
    """A linear map, which subclasses use."""

    def __init__(self, d_model):
        super().__init__()
        self.out = nn.Linear(d_model, d_model)


class WholeMean(Mapped):
    def forward(self, x):
        return self.out(x.mean(dim=1, keepdim=True).expand_as(x))


class NextToken(Mapped):
    """Starts as zero, so that nothing shows before it is trained."""

    def __init__(self, d_model):
        super().__init__(d_model)
        self.out.zero_init = True
        nn.init.zeros_(self.out.weight)
        nn.init.zeros_(self.out.bias)

    def forward(self, x):
        return self.out(x.roll(-1, dims=1))


class Sorted(Mapped):
    def forward(self, x):
        return self.out(x.sort(dim=1).values)


class Circular(Mapped):
    """A long convolution without zero padding."""

    def forward(self, x):
        taps = torch.fft.rfft(torch.ones(x.shape[1], 1) / x.shape[1], dim=0)
        return self.out(torch.fft.irfft(torch.fft.rfft(x, dim=1) * taps, n=x.shape[1], dim=1))


class RunningMean(Mapped):
    def forward(self, x):
        return self.out(x.cumsum(1) / torch.arange(1, x.shape[1] + 1)[:, None])


class PaddedConvolution(Mapped):
    """Sums by a Fourier transform, which rounds differently for other later tokens."""

    def forward(self, x):
        length = x.shape[1]
        spectrum = torch.fft.rfft(x, n=2 * length, dim=1)
        taps = torch.fft.rfft(torch.ones(length, 1), n=2 * length, dim=0)
        return self.out(torch.fft.irfft(spectrum * taps, n=2 * length, dim=1)[:, :length])


class Noisy(Mapped):
    """Draws numbers in evaluation mode too: two passes differ without a look-ahead."""

    def forward(self, x):
        return self.out(x) + 0.1 * torch.randn_like(x)


def change(cls, length=16):
    model = rc.ModelConfig(mixer=rc.mixer(cls), d_model=8, n_layers=1)
    built = LanguageModel(model, vocab_size=64, max_len=length, seed=0)
    tokens = torch.randint(64, (2, length), generator=torch.Generator().manual_seed(0))
    return look_ahead_untrained(built, tokens, 64)


@pytest.mark.parametrize("length", [2, 16, 2048])
@pytest.mark.parametrize("cls", [WholeMean, NextToken, Sorted, Circular])
def test_a_model_that_reads_later_tokens_is_found_at_any_length(cls, length):
    assert change(cls, length) > 0


@pytest.mark.parametrize("length", [1, 2, 16, 2048])
@pytest.mark.parametrize("cls", [RunningMean, PaddedConvolution, Noisy])
def test_a_causal_model_is_not_accused(cls, length):
    assert change(cls, length) == 0


@pytest.mark.parametrize("count", [1, 2])
def test_trials_warn_of_a_users_mixer_that_reads_later_tokens(count):
    trials = [config(rc.mixer(Sorted), seed) for seed in range(count)]
    with pytest.warns(UserWarning, match="Sorted: later tokens change earlier outputs, by"):
        list(run_population(trials)) if count > 1 else run_trial(trials[0])


def test_a_causal_mixer_gives_no_warning():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        run_trial(config(rc.mixer(RunningMean), 0))


BY_LENGTH = rc.adapt(nn.GRU, d_model=("input_size", "hidden_size"), state="hx")
"""Reads (length, batch, d_model)."""
BY_BATCH = rc.adapt(nn.GRU, d_model=("input_size", "hidden_size"), state="hx", batch_first=True)


class MeanOfBatch(Mapped):
    """Mixes examples and reads later tokens."""

    def forward(self, x):
        return self.out(x.mean(dim=(0, 1), keepdim=True).expand_as(x))


@pytest.mark.parametrize("count", [1, 2])
@pytest.mark.parametrize("mixer", [BY_LENGTH, rc.mixer(MeanOfBatch)])
def test_trials_warn_of_a_mixer_that_mixes_examples_and_not_of_what_it_reads(mixer, count):
    trials = [config(mixer, seed) for seed in range(count)]
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        list(run_population(trials)) if count > 1 else run_trial(trials[0])
    told = {str(warning.message) for warning in caught}
    mixed = [text for text in told if "an example changes the outputs of other examples" in text]
    assert len(mixed) == 1
    assert "set batch_first=True" in mixed[0]
    assert not any("later tokens" in text for text in told)


@pytest.mark.parametrize("mixer", [BY_BATCH, rc.mixer(Noisy), rc.mixer(PaddedConvolution)])
def test_a_mixer_that_keeps_examples_apart_gives_no_warning(mixer):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        run_trial(config(mixer, 0))


def config(mixer, seed):
    return TrialConfig(
        task=rc.MQAR(seq_len=16, num_kv_pairs=2, vocab_size=64),
        model=rc.ModelConfig(mixer=mixer, d_model=8, n_layers=1),
        train=rc.TrainConfig(steps=2, batch_size=4, valid_examples=8, test_examples=8),
        seeds=Seeds.of(seed),
    )
