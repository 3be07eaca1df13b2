"""A mixer receives the arguments that it names, by keyword, wherever they are in its signature."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import recollect as rc
from recollect.analysis.mixing import mixing_matrices
from recollect.models.calling import call_forward, call_step, reads_tokens, takes_positions

X, TOKENS = torch.randn(2, 5, 4), torch.arange(10).reshape(2, 5)


class Heard(nn.Module):
    """Remembers what it was called with."""

    def __init__(self) -> None:
        super().__init__()
        self.heard: dict[str, object] = {}

    def hear(self, x, **heard):
        self.heard = heard
        return 0 * x


class MaskBefore(Heard):
    def forward(self, x, attention_mask=None, tokens=None):
        return self.hear(x, mask=attention_mask, tokens=tokens)

    def step(self, x_t, state, padding=None, token=None):
        return self.hear(x_t, state=state, padding=padding, token=token), state


class KeywordOnly(Heard):
    def forward(self, x, *, tokens, output_positions=None):
        y = self.hear(x, tokens=tokens, positions=output_positions)
        return y if output_positions is None else y[:, : output_positions.shape[1]]

    def step(self, x_t, *, tokens, state):
        return self.hear(x_t, state=state, token=tokens), state


class StateBefore(Heard):
    def forward(self, hidden, state=None, *rest, tokens):
        assert not rest
        return self.hear(hidden, state=state, tokens=tokens)

    def step(self, hidden, token, state):
        return self.hear(hidden, state=state, token=token), state


class Anything(Heard):
    def forward(self, hidden_states, **kwargs):
        return self.hear(hidden_states, **kwargs)

    def step(self, hidden_states, cache, **kwargs):
        return self.hear(hidden_states, state=cache, **kwargs), cache


class CalledTokens(Heard):
    """Its input has the name of the token ids."""

    def forward(self, tokens, mask=None):
        return self.hear(tokens, mask=mask)

    def step(self, token, memory):
        return self.hear(token, state=memory), memory


class Static(Heard):
    @staticmethod
    def forward(x, mask=None, tokens=None):
        assert mask is None
        return x + tokens[..., None]


class ByPosition(Heard):
    def forward(self, x, tokens, /):
        return self.hear(x, tokens=tokens)

    def step(self, x_t, state, token, /):
        return self.hear(x_t, token=token), state


def test_forward_is_given_what_it_names() -> None:
    heard = {}
    for cls in (MaskBefore, KeywordOnly, StateBefore, Anything, CalledTokens):
        mixer = cls()
        call_forward(mixer, X, TOKENS)
        heard[cls] = mixer.heard
    assert heard[MaskBefore] == {"mask": None, "tokens": TOKENS}
    assert heard[KeywordOnly] == {"tokens": TOKENS, "positions": None}
    assert heard[StateBefore] == {"state": None, "tokens": TOKENS}
    assert heard[Anything] == {}
    assert heard[CalledTokens] == {"mask": None}
    torch.testing.assert_close(call_forward(Static(), X, TOKENS), X + TOKENS[..., None])


def test_step_is_given_what_it_names() -> None:
    heard, state, token = {}, object(), TOKENS[:, 0]
    for cls in (MaskBefore, KeywordOnly, StateBefore, Anything, CalledTokens):
        mixer = cls()
        assert call_step(mixer, X[:, 0], state, token)[1] is state
        heard[cls] = mixer.heard
    assert heard[MaskBefore] == {"state": state, "padding": None, "token": token}
    assert heard[KeywordOnly] == heard[StateBefore] == {"state": state, "token": token}
    assert heard[Anything] == heard[CalledTokens] == {"state": state}


def test_positions_are_given_by_keyword_too() -> None:
    mixer, positions = KeywordOnly(), TOKENS[:, :2]
    assert takes_positions(mixer)
    assert call_forward(mixer, X, TOKENS, positions).shape == (2, 2, 4)
    assert mixer.heard == {"tokens": TOKENS, "positions": positions}
    assert not takes_positions(MaskBefore())


def test_the_forward_of_one_module_alone() -> None:
    mixer = Anything()
    assert not reads_tokens(mixer)
    mixer.forward = lambda x, tokens: x + tokens[..., None]
    torch.testing.assert_close(call_forward(mixer, X, TOKENS), X + TOKENS[..., None])


def test_tokens_by_position_only_are_refused() -> None:
    with pytest.raises(rc.UserError, match=r"ByPosition.forward takes tokens by position only"):
        call_forward(ByPosition(), X, TOKENS)
    with pytest.raises(rc.UserError, match=r"ByPosition.step takes token by position only"):
        call_step(ByPosition(), X[:, 0], None, TOKENS[:, 0])


class WithoutConstructor(nn.Module):
    def forward(self, x):
        return x


class AnyOptions(nn.Module):
    def __init__(self, d_model, **options):
        super().__init__()
        self.options = d_model, options


class AnyArguments(Heard):
    def __init__(self, d_model, *args):
        super().__init__()
        self.options = d_model, args


class WidthByPosition(Heard):
    def __init__(self, d_model, /):
        super().__init__()
        self.d_model = d_model


def test_a_width_by_position_only_is_refused() -> None:
    with pytest.raises(rc.UserError, match="takes d_model by position only"):
        rc.ModelConfig(mixer=WidthByPosition, d_model=4)


@pytest.mark.parametrize(("mixer", "options"), [(AnyOptions, (4, {})), (AnyArguments, (4, ()))])
def test_a_constructor_that_takes_more_is_given_what_it_names(
    mixer: type[nn.Module], options: tuple[object, ...]
) -> None:
    assert rc.mixer(mixer).build(d_model=4).options == options


def test_only_a_constructor_with_keyword_arguments_takes_any_option() -> None:
    assert rc.mixer(AnyOptions, heads=2).build(d_model=4).options == (4, {"heads": 2})
    with pytest.raises(rc.UserError, match=r"unknown option of .*'heads'"):
        rc.mixer(AnyArguments, heads=2)


class Widths(nn.Module):
    def __init__(self, input_size, hidden_size):
        super().__init__()
        self.sizes = input_size, hidden_size


def test_what_a_class_needs_beside_its_width_is_named() -> None:
    with pytest.raises(rc.UserError, match=r"needs the options input_size: .*d_model=input_size"):
        rc.mixer(Widths)


def test_a_mixer_needs_no_constructor() -> None:
    config = rc.ModelConfig(mixer=WithoutConstructor, d_model=4, n_layers=1)
    assert config.label == "WithoutConstructor"
    config.build(rc.MQAR(seq_len=8, num_kv_pairs=1, vocab_size=16))


@pytest.mark.parametrize("mixer", [MaskBefore, KeywordOnly, StateBefore])
def test_a_model_tells_its_mixer_the_tokens(mixer: type[Heard]) -> None:
    task = rc.MQAR(seq_len=8, num_kv_pairs=1, vocab_size=16)
    model = rc.ModelConfig(mixer=mixer, d_model=4, n_layers=1).build(task)
    inputs = task.sample(2, seed=0).inputs
    model(inputs)
    assert torch.equal(model.layers[0].mixer.heard["tokens"], inputs)
    model.step(inputs[:, 0], {"position": 0, "blocks": [{"mixer": ()}]})
    assert torch.equal(model.layers[0].mixer.heard["token"], inputs[:, 0])
    assert len(mixing_matrices(model, inputs)) == 1


class Returns(nn.Module):
    """Returns a part of its input."""

    def __init__(self, what):
        super().__init__()
        self.what = what

    def forward(self, x):
        return {"dict": {"y": x}, "one position": x[:, :1], "one channel": x[..., 0]}[self.what]


@pytest.mark.parametrize(
    ("what", "message"),
    [
        ("dict", "a dict"),
        ("one position", r"\(2, 1, 4\), expected one tensor of the shape \(2, 8, 4\)"),
        ("one channel", r"\(2, 8\), expected"),
    ],
)
def test_an_output_of_another_shape_is_not_broadcast(what: str, message: str) -> None:
    task = rc.MQAR(seq_len=8, num_kv_pairs=1, vocab_size=16)
    config = rc.ModelConfig(mixer=rc.mixer(Returns, what=what), d_model=4, n_layers=1)
    with pytest.raises(rc.UserError, match=f"the mixer Returns returned.*{message}"):
        config.build(task)(task.sample(2, seed=0).inputs)
