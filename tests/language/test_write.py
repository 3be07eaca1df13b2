"""What a model writes, token by token."""

from collections import Counter

import pytest
import torch
from tiny_models import perturb
from torch import nn

from recollect.errors import UserError
from recollect.language.write import has_step_form, write
from recollect.models.config import ModelConfig
from recollect.models.language_model import LanguageModel


class Mean(nn.Module):
    """A mixer without a step form."""

    def __init__(self, d_model: int) -> None:
        super().__init__()
        self.linear = nn.Linear(d_model, d_model)

    def forward(self, x):
        return self.linear(x.cumsum(dim=1) / torch.arange(1, x.shape[1] + 1)[:, None])


def model(mixer, vocab_size: int = 20) -> LanguageModel:
    config = ModelConfig(mixer=mixer, d_model=16, n_layers=2, mlp="gelu")
    made = LanguageModel(config, vocab_size=vocab_size, max_len=24, seed=0).eval()
    perturb(made)
    return made


@pytest.mark.parametrize(
    ("mixer", "steps"), [(["attention", "mamba"], True), ([Mean, "attention"], False)]
)
def test_the_likeliest_tokens(mixer, steps):
    """By the parallel form, all that was written before read anew."""
    writer = model(mixer)
    assert has_step_form(writer) == steps
    tokens = [3, 1, 4]
    for _ in range(12):
        tokens.append(int(writer(torch.tensor([tokens]))[0, -1].argmax()))
    assert [3, 1, 4, *write(writer, [3, 1, 4], 12, temperature=0.0)] == tokens


@pytest.mark.parametrize("temperature", [1.0, 0.5])
def test_tokens_come_by_their_probabilities(temperature):
    writer = model("attention", vocab_size=5)
    with torch.no_grad():
        chances = (writer(torch.tensor([[2, 3]]))[0, -1] / temperature).softmax(0)
    drawn = Counter(
        next(write(writer, [2, 3], 1, temperature=temperature, seed=seed)) for seed in range(300)
    )
    for token, chance in enumerate(chances.tolist()):
        assert abs(drawn[token] - 300 * chance) < 4 * (300 * chance) ** 0.5 + 1


def test_the_seed_is_all_that_matters():
    writer = model("attention")
    first = list(write(writer, [1], 20, seed=1))
    torch.rand(3)
    assert list(write(writer, [1], 20, seed=1)) == first != list(write(writer, [1], 20, seed=2))


@pytest.mark.parametrize(
    ("prompt", "tokens", "temperature", "message"),
    [
        ([], 3, 1.0, "the prompt is empty"),
        ([1] * 20, 5, 1.0, "tokens=5: with the prompt, of length 20, these are more"),
        ([1], 5, -1.0, "temperature=-1.0"),
    ],
)
def test_wrong_input(prompt, tokens, temperature, message):
    with pytest.raises(UserError, match=message):
        list(write(model("attention"), prompt, tokens, temperature=temperature))
