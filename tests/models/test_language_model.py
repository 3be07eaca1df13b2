import json
import math

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from recollect.errors import UserError
from recollect.mixers.catalogue import mixer
from recollect.mixers.marks import keep_init
from recollect.models.block import MLP
from recollect.models.config import Init, ModelConfig
from recollect.studies.study import Study
from recollect.tasks.mqar import MQAR

TASK = MQAR(seq_len=16, num_kv_pairs=2, vocab_size=64)
FULL = {
    "mixer": ["attention", "hyena"],
    "n_layers": 3,
    "mlp": "swiglu",
    "norm": "rmsnorm",
    "short_conv": 3,
}
"""A recipe with all the parts there are."""


class RunningMean(nn.Module):
    """A user's mixer: what it reads, averaged over the past."""

    def __init__(self, d_model, *, gain=1.0):
        super().__init__()
        self.gain = gain
        self.out_proj = nn.Linear(d_model, d_model)
        self.start = nn.Linear(d_model, d_model)
        nn.init.constant_(self.start.weight, 0.5)
        keep_init(self.start)

    def forward(self, x):
        count = torch.arange(1, x.shape[1] + 1, dtype=x.dtype)[:, None]
        return self.out_proj(self.gain * self.start(x).cumsum(1) / count)


class SeenBefore(nn.Module):
    """A user's mixer that reads the token ids: scaled inputs, where the token occurred before."""

    def __init__(self, d_model, layer_idx):
        super().__init__()
        self.layer_idx = layer_idx
        self.scale = nn.Parameter(torch.ones(d_model))

    def forward(self, x, tokens):
        seen = (tokens[:, :, None] == tokens[:, None]).tril(-1).any(-1)
        return seen[..., None] * self.scale * x

    def initial_state(self, batch_size):
        return torch.zeros(batch_size, 0, dtype=torch.int64)

    def step(self, x_t, state, token):
        seen = (state == token[:, None]).any(-1)
        return seen[:, None] * self.scale * x_t, torch.cat([state, token[:, None]], 1)


def build(d_model=8, seed=0, **recipe):
    return ModelConfig(**{"mixer": "attention", "d_model": d_model, **recipe}).build(
        TASK, seed=seed
    )


def dense_loss(model, batch):
    return F.cross_entropy(model(batch.inputs).flatten(0, 1), batch.labels().flatten())


@pytest.mark.parametrize("recipe", [{}, {"mlp": "gelu", "dropout": 0.0}, FULL], ids=str)
def test_logits_at_positions_are_those_of_the_dense_form(recipe):
    model, batch = build(**recipe).double(), TASK.sample(5, seed=0)
    logits = model(batch.inputs, batch.positions)
    rows = torch.arange(5)[:, None]
    torch.testing.assert_close(logits, model(batch.inputs)[rows, batch.positions])


@pytest.mark.parametrize(("dtype", "tolerance"), [("float32", 1e-5), ("float64", 1e-12)])
def test_loss_and_gradients_are_those_of_the_dense_form(dtype, tolerance):
    model, batch = build(**FULL).to(getattr(torch, dtype)), TASK.sample(5, seed=0)
    losses = model.loss(batch.inputs, batch.positions, batch.targets), dense_loss(model, batch)
    sparse, dense = (torch.autograd.grad(loss, list(model.parameters())) for loss in losses)
    torch.testing.assert_close(*losses, rtol=tolerance, atol=0)
    for actual, expected in zip(sparse, dense, strict=True):
        scale = expected.abs().max().item()
        torch.testing.assert_close(actual, expected, rtol=0, atol=tolerance * scale)


def test_without_positions_every_token_is_supervised():
    model, batch = build(), TASK.sample(5, seed=0)
    targets = batch.inputs.roll(-1, 1)
    expected = F.cross_entropy(model(batch.inputs).flatten(0, 1), targets.flatten())
    torch.testing.assert_close(model.loss(batch.inputs, None, targets), expected)


@pytest.mark.parametrize("recipe", [{}, FULL, {"mixer": [SeenBefore, "attention"]}], ids=str)
def test_steps_equal_the_whole_sequence(recipe):
    model, inputs = build(**recipe).double(), TASK.sample(3, seed=0).inputs
    state, logits = model.initial_state(3), []
    for t in range(16):
        step, state = model.step(inputs[:, t], state)
        logits.append(step)
    torch.testing.assert_close(torch.stack(logits, 1), model(inputs))
    with pytest.raises(UserError, match="a token at position 16, but the model was built for 16"):
        model.step(inputs[:, 0], state)


def test_an_input_above_max_len_is_refused():
    inputs = MQAR(seq_len=32, num_kv_pairs=2, vocab_size=64).sample(2, seed=0).inputs
    with pytest.raises(UserError, match="an input of 32 tokens, but the model was built for 16"):
        build()(inputs)
    longer = ModelConfig(mixer="attention", d_model=8).build(TASK, max_len=32)
    assert longer(inputs).shape == (2, 32, 64)


def test_the_initialisation_is_normal_with_zero_biases():
    model = build(d_model=128, n_layers=2, mlp="gelu")
    linear = {name: m for name, m in model.named_modules() if isinstance(m, nn.Linear)}
    writes = [name for name in linear if name.endswith("out_proj")]
    assert len(writes) == 4
    for name, module in linear.items():
        std = 0.02 / math.sqrt(4) if name in writes else 0.02
        assert module.weight.detach().std() == pytest.approx(std, rel=0.05)
        assert module.bias is None or not module.bias.any()
    assert model.embedding.weight.detach().std() == pytest.approx(0.02, rel=0.05)
    assert model.position_embedding.weight.detach().std() == pytest.approx(0.02, rel=0.1)


def test_the_initialisation_can_be_changed():
    model = build(d_model=128, init=Init(std=0.1, rescale_residual=False))
    for module in model.modules():
        if isinstance(module, nn.Linear):
            assert module.weight.detach().std() == pytest.approx(0.1, rel=0.05)


def test_the_initialisation_leaves_marked_parameters_alone():
    mixer_module = build(mixer=RunningMean, init=Init(foreign="reset")).blocks[0].mixer
    assert (mixer_module.start.weight == 0.5).all()
    assert mixer_module.start.bias.any()
    assert mixer_module.out_proj.weight.abs().max() < 0.1


def test_weights_depend_on_the_seed_alone():
    torch.manual_seed(1)
    one = build(**FULL, seed=3).state_dict()
    torch.manual_seed(2)
    before = torch.get_rng_state()
    again, other = build(**FULL, seed=3).state_dict(), build(**FULL, seed=4).state_dict()
    assert torch.equal(torch.get_rng_state(), before)
    assert all(torch.equal(again[name], weights) for name, weights in one.items())
    assert not torch.equal(other["embedding.weight"], one["embedding.weight"])


def test_the_generators_of_other_devices_take_no_part(monkeypatch):
    def touched(*_):
        raise AssertionError("a generator of a GPU was seeded")

    expected = build(**FULL, seed=3).state_dict()
    monkeypatch.setattr(torch.cuda, "manual_seed_all", touched)
    found = build(**FULL, seed=3).state_dict()
    assert all(torch.equal(found[name], weights) for name, weights in expected.items())


def test_a_pattern_repeats_over_the_layers():
    model = build(mixer=["base-conv", mixer("attention", n_heads=2)], n_layers=5)
    names = [type(block.mixer).__name__ for block in model.blocks]
    assert names == ["BaseConv", "Attention", "BaseConv", "Attention", "BaseConv"]
    assert model.blocks[3].mixer.n_heads == 2
    layers = [block.mixer.layer_idx for block in build(mixer=SeenBefore, n_layers=3).blocks]
    assert layers == [0, 1, 2]


@pytest.mark.parametrize(
    ("pattern", "positions", "learned"),
    [
        ("attention", "auto", True),
        ("hyena", "auto", False),
        (["hyena", "attention"], "auto", True),
        ("hyena", "learned", True),
        ("attention", None, False),
        ("attention", "rope", False),
        (["hyena", "attention"], "rope", False),
    ],
)
def test_positions(pattern, positions, learned):
    model = build(mixer=pattern, positions=positions)
    assert (model.position_embedding is not None) is learned
    rotated = [block.mixer.rope for block in model.blocks if hasattr(block.mixer, "rope")]
    assert all(rope is (positions == "rope") for rope in rotated)


def test_positions_that_a_mixer_cannot_use_are_refused():
    with pytest.raises(UserError, match="positions='rope': hyena has no queries and keys"):
        build(mixer="hyena", positions="rope")
    with pytest.raises(
        UserError, match="rope is not an option of this mixer: set positions='rope'"
    ):
        mixer("attention", rope=True)
    with pytest.raises(UserError, match="positions='sine'"):
        build(positions="sine")


def test_one_layer_s_wishes_count_for_the_model():
    pattern = ["mamba", mixer("attention", window=5)]
    one, two = (ModelConfig(mixer=layers, d_model=8) for layers in (pattern[:1], pattern))
    assert (one.learned_positions, one.window) == (False, None)
    assert (two.learned_positions, two.window) == (True, 5)
    assert one.build(TASK).position_embedding is None
    assert two.replace(positions="rope").build(TASK).blocks[1].mixer.rope
    with pytest.raises(UserError, match="positions='rope': mamba has no queries and keys"):
        one.replace(positions="rope")


class Sized(nn.Module):
    def __init__(self, d_model: int, size: int = 4) -> None:
        super().__init__()
        self.linear = nn.Linear(d_model, size + 1)


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        (
            "attention",
            {"n_heads": "2"},
            "'attention' cannot be built with d_model=8, .*n_heads='2': ",
        ),
        (
            "mamba",
            {"d_conv": [4]},
            r"'mamba' cannot be built with d_model=8, .*d_conv=\[4\]: ",
        ),
        (Sized, {"size": "8"}, ":Sized' cannot be built with d_model=8, size='8': TypeError: "),
    ],
)
def test_an_option_of_another_type_is_refused(name, options, message):
    config = ModelConfig(mixer=mixer(name, **options), d_model=8)
    with pytest.raises(UserError, match=message):
        config.build(TASK)


class Broken(nn.Module):
    def __init__(self, d_model: int, n_layers: int, kind: str = "order") -> None:
        super().__init__()
        if kind == "order":
            self.larger = max(d_model, "8")
        elif kind == "memory":
            raise MemoryError
        raise ValueError(f"d_model={d_model} is no multiple of {n_layers}\nof course")


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("order", "d_model=8, n_layers=3: TypeError: '>' not supported between instances of"),
        ("memory", "d_model=8, n_layers=3, kind='memory': MemoryError: $"),
        (
            "value",
            "d_model=8, n_layers=3, kind='value': ValueError: d_model=8 is no multiple of 3$",
        ),
    ],
)
def test_a_constructor_that_raises_is_refused(kind, message):
    model = ModelConfig(mixer=mixer(Broken, kind=kind), d_model=8, n_layers=3)
    study = Study("s", tasks=[TASK], models=[model])
    for build in (lambda: model.build(TASK), study.check):
        with pytest.raises(UserError, match=f":Broken' cannot be built with {message}"):
            build()


def test_learned_positions_tell_equal_tokens_apart():
    tokens = torch.zeros(1, 16, dtype=torch.int64)
    for positions, differ in (("learned", True), (None, False)):
        logits = build(positions=positions)(tokens)
        assert (not torch.allclose(logits[:, 0], logits[:, 1])) is differ


@pytest.mark.parametrize("name", ["class", "path"])
@pytest.mark.parametrize("cls", [RunningMean, SeenBefore])
def test_a_user_s_own_mixer_works(cls, name):
    config = ModelConfig(mixer=cls if name == "class" else f"{__name__}:{cls.__name__}", d_model=8)
    assert config.label == cls.__name__
    model, batch = config.build(TASK), TASK.sample(5, seed=0)
    model.loss(batch.inputs, batch.positions, batch.targets).backward()
    trained = model.blocks[0].mixer.parameters()
    assert all(parameter.grad.abs().max() > 0 for parameter in trained)


def test_a_user_s_options_are_passed_on():
    config = ModelConfig(mixer=mixer(RunningMean, gain=2.0), d_model=8)
    assert config.label == "RunningMean(gain=2.0)"
    assert config.build(TASK).blocks[1].mixer.gain == 2.0


@pytest.mark.parametrize("recipe", [{}, FULL, {"mixer": [mixer(RunningMean, gain=2.0), "hyena"]}])
def test_a_stored_config_builds_the_same_model(recipe):
    config = ModelConfig(**{"mixer": "attention", "d_model": 8, **recipe})
    stored = ModelConfig(**json.loads(json.dumps(config.model_dump(mode="json"))))
    assert stored == config
    inputs = TASK.sample(2, seed=0).inputs
    assert torch.equal(stored.build(TASK)(inputs), config.build(TASK)(inputs))


def test_the_head_shares_the_embedding_by_default():
    tied, free = build(), build(tie_embedding=False)
    assert tied.head.weight is tied.embedding.weight
    assert free.head.weight is not free.embedding.weight
    difference = sum(p.numel() for p in free.parameters()) - sum(
        p.numel() for p in tied.parameters()
    )
    assert difference == 64 * 8


def test_dropout_acts_in_training_only():
    model, inputs = build(dropout=0.5), TASK.sample(2, seed=0).inputs
    assert not torch.allclose(model(inputs), model(inputs))
    model.eval()
    assert torch.equal(model(inputs), build().eval()(inputs))


def test_the_two_mlps_have_about_as_many_weights():
    gelu, swiglu = (
        sum(p.numel() for p in MLP(96, kind).parameters()) for kind in ("gelu", "swiglu")
    )
    assert swiglu == pytest.approx(gelu, rel=0.01)


class Lazy(nn.Module):
    def __init__(self, d_model, kind):
        super().__init__()
        kinds = {"linear": nn.LazyLinear, "conv": nn.LazyConv1d, "norm": nn.LazyBatchNorm1d}
        sizes = {"linear": (d_model,), "conv": (d_model, 1), "norm": ()}
        self.lazy = kinds[kind](*sizes[kind])

    def forward(self, x):
        return self.lazy(x)


@pytest.mark.parametrize("kind", ["linear", "conv", "norm"])
def test_a_parameter_without_a_shape_is_refused(kind):
    model = ModelConfig(mixer=mixer(Lazy, kind=kind), d_model=8)
    with pytest.raises(UserError, match=r"mixer\.lazy\.weight gets its shape from the first input"):
        model.build(TASK)
    with pytest.raises(UserError, match=r"full shape in the mixer's constructor"):
        Study("lazy", tasks=[TASK], models=[model]).check()
