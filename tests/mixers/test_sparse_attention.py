import math

import pytest
import torch

from recollect.errors import UserError
from recollect.mixers.input_dependent_conv import InputDependentConv
from recollect.mixers.sparse_attention import SparseAttention

D, LENGTH = 8, 30


def build(selection="programmatic", *, layer_idx=0, **options):
    torch.manual_seed(0)
    options = {"max_len": LENGTH, "layer_idx": layer_idx, "selection": selection, **options}
    return SparseAttention(D, **options).double()


def sequences(length=LENGTH, batch=3, seed=0):
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(batch, length, D, dtype=torch.float64, generator=generator)
    return x, torch.randint(6, (batch, length), generator=generator)


def seen_before(tokens, filler):
    """Which tokens occurred before, by searching the lists of them."""
    return torch.tensor(
        [
            [token != filler and token in row[:t] for t, token in enumerate(row)]
            for row in tokens.tolist()
        ]
    )


def selected(module, x, tokens):
    """Where the output is not exactly zero."""
    with torch.no_grad():
        return (module(x, tokens) != 0).any(-1)


@pytest.mark.parametrize("filler", [0, 3, None])
def test_programmatic_selection_is_where_a_token_occurred_before(filler):
    module, (x, tokens) = build(filler=filler), sequences()
    repeated = seen_before(tokens, filler)
    assert 0.3 < repeated.double().mean() < 0.95
    assert torch.equal(selected(module, x, tokens), repeated)


@pytest.mark.parametrize("selection", ["programmatic", "random", "all"])
def test_a_selected_position_attends_to_all_before_it(selection):
    module, (x, tokens) = build(selection), sequences()
    y, chosen = module(x, tokens), selected(module, x, tokens)
    attention = module.attention(x)
    torch.testing.assert_close(y[chosen], attention[chosen])
    assert chosen.all() == (selection == "all")
    assert not y[~chosen].any()


def scores(module, x):
    return x @ module.selector.score_proj.weight[0]


def test_learned_selection_gates_all_positions_in_training():
    module, (x, tokens) = build("learned"), sequences()
    expected = module.attention(x) * scores(module, x).sigmoid()[..., None]
    torch.testing.assert_close(module(x, tokens), expected)


@pytest.mark.parametrize("share", [None, 0.2])
def test_learned_selection_keeps_the_best_so_far_in_evaluation(share):
    module, (x, tokens) = build("learned", share=share).eval(), sequences()
    expected = torch.zeros(3, LENGTH, dtype=torch.bool)
    for row, values in enumerate(scores(module, x).tolist()):
        for t, value in enumerate(values):
            count = math.ceil(math.sqrt(t + 1)) if share is None else math.ceil(share * (t + 1))
            expected[row, t] = value in sorted(values[: t + 1])[-count:]
    assert torch.equal(selected(module, x, tokens), expected)
    gates = scores(module, x).sigmoid()[..., None]
    y = module(x, tokens)
    torch.testing.assert_close(y[expected], (module.attention(x) * gates)[expected])


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("selection", ["programmatic", "learned", "random", "all"])
def test_no_selection_looks_ahead(selection, training):
    module, (x, tokens) = build(selection).train(training), sequences()
    other_x, other_tokens = sequences(seed=1)
    for cut in (1, 9, LENGTH - 1):
        other_x[:, :cut], other_tokens[:, :cut] = x[:, :cut], tokens[:, :cut]
        with torch.no_grad():
            y, other_y = module(x, tokens)[:, :cut], module(other_x, other_tokens)[:, :cut]
            torch.testing.assert_close(other_y, y, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("selection", ["programmatic", "learned", "random", "all"])
def test_steps_equal_the_whole_sequence(selection, training):
    module, (x, tokens) = build(selection).train(training), sequences()
    state, outputs = module.initial_state(3), []
    with torch.no_grad():
        for t in range(LENGTH):
            y_t, state = module.step(x[:, t], state, tokens[:, t])
            outputs.append(y_t)
        torch.testing.assert_close(torch.stack(outputs, 1), module(x, tokens))


def test_equal_positions_tie_and_the_first_of_them_is_selected():
    module = build("learned").float().eval()
    x = torch.randn(1, 1, D).expand(4, LENGTH, D)  # such as a filler, without positions
    assert (
        selected(module, x, torch.zeros(4, LENGTH, dtype=torch.int64)).sum(1).tolist()
        == [sum(t < math.ceil(math.sqrt(t + 1)) for t in range(LENGTH))] * 4
    )


def test_random_positions_depend_on_seed_and_layer_alone():
    x, tokens = sequences()
    first = selected(build("random"), x, tokens)
    torch.rand(5)
    assert torch.equal(selected(build("random"), *sequences(seed=1)), first)
    assert (first == first[0]).all()
    for other in ({"seed": 1}, {"layer_idx": 1}):
        assert not torch.equal(selected(build("random", **other), x, tokens), first)
    longer = build("random", max_len=2000, share=0.25).selector.chosen
    assert longer.double().mean().item() == pytest.approx(0.25, abs=0.03)


def test_the_auxiliary_loss_is_the_excess_of_the_mean_gate():
    module, (x, _) = build("learned", penalty=0.5), sequences()
    gates = scores(module, x).sigmoid()
    excess = (gates.mean(1) - 6 / LENGTH).clamp(min=0).mean()  # the root of 30 rounded up
    torch.testing.assert_close(module.auxiliary_loss(x), 0.5 * excess)
    assert excess > 0
    assert build("learned", share=1.0).auxiliary_loss(x) == 0
    assert build("random").auxiliary_loss(x) == 0


def conv_by_hand(module, x, tokens):
    """BaseConv with the filter at the last occurrence, number by number."""
    taps, linear = module.filter.detach(), module.projection
    conv = torch.zeros_like(x)
    for row in range(len(x)):
        last = {}
        for t, token in enumerate(tokens[row].tolist()):
            for j in range(len(taps)):
                if token in last and last[token] + j <= t:
                    conv[row, t] += taps[j] * x[row, last[token] + j]
            if token != module.filler:
                last[token] = t
    return (x @ linear.weight.T + linear.bias) * (conv + module.bias) + x


@pytest.mark.parametrize("options", [{}, {"kernel_size": 1}, {"kernel_size": 9, "filler": None}])
def test_the_input_dependent_convolution_reads_where_a_token_occurred(options):
    torch.manual_seed(0)
    module, (x, tokens) = InputDependentConv(D, **options).double(), sequences()
    with torch.no_grad():
        torch.testing.assert_close(module(x, tokens), conv_by_hand(module, x, tokens))


def test_one_layer_of_it_finds_what_followed_a_key():
    module = InputDependentConv(2, kernel_size=2, filler=0)
    with torch.no_grad():
        module.filter.copy_(torch.tensor([[0.0, 0.0], [1.0, 1.0]]))
        module.bias.zero_()
        module.projection.weight.zero_()
        module.projection.bias.fill_(1.0)
    tokens = torch.tensor([[4, 7, 5, 8, 0, 5, 0, 4]])
    x = torch.randn(1, 8, 2)
    recalled = module(x, tokens) - x
    torch.testing.assert_close(recalled[0, [5, 7]], x[0, [3, 1]])
    assert not recalled[0, [0, 1, 2, 3, 4, 6]].any()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"selection": "lerned"}, "unknown selection 'lerned': did you mean 'learned'"),
        ({"share": 0.0}, r"share=0\.0: expected above 0 and at most 1"),
        ({"penalty": -1.0}, r"penalty=-1\.0: expected at least 0"),
        ({"n_heads": 3}, "n_heads=3: expected a divisor of d_model=8"),
    ],
)
def test_wrong_options_are_refused(options, message):
    with pytest.raises(UserError, match=message):
        build(**options)


def test_a_kernel_below_one_is_refused():
    with pytest.raises(UserError, match="kernel_size=0: expected at least 1"):
        InputDependentConv(D, kernel_size=0)


def test_a_length_beyond_the_drawn_positions_is_refused():
    module, message = build("random"), "a sequence of 31 tokens, but positions were drawn for 30"
    with pytest.raises(UserError, match=message):
        module(*sequences(31))
    state, (x, tokens) = module.initial_state(3), sequences(31)
    for t in range(LENGTH):
        _, state = module.step(x[:, t], state, tokens[:, t])
    with pytest.raises(UserError, match=message):
        module.step(x[:, LENGTH], state, tokens[:, LENGTH])
