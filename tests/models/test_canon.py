"""Canon layers as a setting of the recipe (arXiv 2512.17351)."""

import warnings

import pytest
import torch
import torch.nn.functional as F

import recollect as rc
from recollect.mixers.canon import Canon
from recollect.studies.labels import recipe
from recollect.training.population import run_population
from recollect.training.trial import run_trial

TASK = rc.MQAR(seq_len=12, num_kv_pairs=2, vocab_size=32)
EVERYWHERE = {"mixer": "attention", "d_model": 8, "n_layers": 2, "mlp": "swiglu", "canon": "ABCD"}


def canon_by_conv1d(layer: Canon, x: torch.Tensor) -> torch.Tensor:
    """The same by PyTorch's convolution, padded on the left."""
    weight = layer.weight.flip(0).T[:, None]
    return x + F.conv1d(F.pad(x.mT, (3, 0)), weight, groups=x.shape[-1]).mT


def test_each_letter_is_where_the_paper_has_it():
    model = rc.ModelConfig(**EVERYWHERE).build(TASK).double()
    block = model.layers[0]
    x = torch.randn(2, 12, 8, dtype=torch.float64)
    tokens = torch.zeros(2, 12, dtype=torch.int64)
    u = canon_by_conv1d(block.canon, block.norm(x))
    mixer = block.mixer
    q, k, v = canon_by_conv1d(mixer.qkv_canon, mixer.qkv_proj(u)).chunk(3, -1)
    causal = torch.ones(12, 12, dtype=torch.bool).tril()
    weights = (q @ k.mT / 8**0.5).masked_fill(~causal, -torch.inf).softmax(-1)
    y = x + mixer.out_proj(weights @ v)
    u = canon_by_conv1d(block.mlp_canon, block.mlp_norm(y))
    gate, hidden = canon_by_conv1d(block.mlp.canon, block.mlp.in_proj(u)).chunk(2, -1)
    y = y + block.mlp.out_proj(F.silu(gate) * hidden)
    torch.testing.assert_close(block(x, tokens), y, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("canon", ["A", "B", "C", "D", "ABCD"])
@pytest.mark.parametrize("mlp", ["gelu", "swiglu"])
def test_positions_and_steps_give_what_all_positions_do(canon, mlp):
    model = rc.ModelConfig(**EVERYWHERE | {"canon": canon, "mlp": mlp}).build(TASK).double()
    tokens = torch.randint(32, (3, 12), generator=torch.Generator().manual_seed(0))
    full = model(tokens)
    positions = torch.tensor([[1, 5, 11]]).expand(3, 3)
    expected = full.take_along_dim(positions[..., None], 1)
    torch.testing.assert_close(model(tokens, positions), expected, rtol=1e-10, atol=1e-10)
    state = model.initial_state(3)
    for t in range(12):
        logits, state = model.step(tokens[:, t], state)
        torch.testing.assert_close(logits, full[:, t], rtol=1e-10, atol=1e-10)


def test_one_letter_reaches_back_three_positions_and_no_further():
    model = rc.ModelConfig(**EVERYWHERE | {"n_layers": 1, "canon": "D"}).build(TASK).double()
    block = model.layers[0]
    x = torch.randn(1, 12, 8, dtype=torch.float64, requires_grad=True)
    block.feed(x)[0, 6].sum().backward()
    reached = x.grad[0].abs().sum(-1).nonzero().flatten().tolist()
    assert reached == [3, 4, 5, 6]


def test_it_trains_in_a_population_as_alone_and_goes_on_from_a_checkpoint(tmp_path):
    train = rc.TrainConfig(steps=4, batch_size=4, dtype="float64", train_examples=16)
    model = rc.ModelConfig(**EVERYWHERE)
    trials = [
        rc.TrialConfig(task=TASK, model=model, train=train.replace(learning_rate=rate))
        for rate in (1e-3, 1e-2)
    ]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # attention's kernel takes one model at a time
        together = dict(run_population(trials))
    saved = tmp_path / "checkpoint"
    run_trial(trials[1], until=2, checkpoint=saved)
    alone = run_trial(trials[1], checkpoint=saved)
    pairs = zip(alone.model.parameters(), together[1].model.parameters(), strict=True)
    for one, other in pairs:
        torch.testing.assert_close(one, other, rtol=1e-8, atol=1e-8)


def test_without_it_keys_and_weights_are_as_they_were():
    plain = rc.ModelConfig(**EVERYWHERE | {"canon": ""})
    assert "canon" not in plain.model_dump(mode="json")
    named = dict(plain.build(TASK).named_parameters())
    assert not [name for name in named if "canon" in name]
    config = rc.ModelConfig(**EVERYWHERE)
    assert config.model_dump(mode="json")["canon"] == "ABCD"
    assert "canon=ABCD" in recipe(config)


def test_of_a_hybrid_only_attention_has_queries_keys_and_values():
    model = rc.ModelConfig(mixer=["mamba", "attention"], d_model=8, canon="AB").build(TASK)
    names = [name for name, _ in model.named_parameters() if "canon" in name]
    assert names == [
        "blocks.0.canon.weight",
        "blocks.1.canon.weight",
        "blocks.1.mixer.qkv_canon.weight",
    ]


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"canon": "BA"}, "expected letters of ABCD in this order"),
        ({"canon": "AX"}, "expected letters of ABCD in this order"),
        ({"mixer": "mamba", "canon": "AB"}, "mamba has no Canon layer on queries, keys and values"),
        (
            {"mixer": "fox", "canon": "B"},
            "fox has no Canon layer on queries, keys and values, as at",
        ),
        ({"mlp": None, "canon": "C"}, "C and D need an MLP"),
        ({"mlp": "identity", "canon": "D"}, "C and D need an MLP"),
    ],
)
def test_a_letter_without_a_place_is_refused(settings, said):
    with pytest.raises(rc.UserError, match=said):
        rc.ModelConfig(**EVERYWHERE | settings)
