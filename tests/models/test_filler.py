"""The filler token comes from the task and is not assumed."""

import pytest
import torch
from torch import nn

import recollect as rc
from recollect.mixers.catalogue import mixer
from recollect.models.config import ModelConfig
from recollect.tasks.associative_recall import AssociativeRecall
from recollect.tasks.copying import Copy
from recollect.tasks.mixture import Mixture
from recollect.tasks.mqar import MQAR
from recollect.training.config import TrialConfig

READERS = ["input-dependent-conv", "sparse-attention", "base-conv-programmatic"]
MQAR_29 = MQAR(seq_len=16, num_kv_pairs=2, vocab_size=29)
COPY = Copy(min_length=6, max_length=6)


class Padded(MQAR):
    """A user's task, whose filler is its last token."""

    @property
    def filler_token(self) -> int:
        return self.vocab_size - 1


class Needs(nn.Module):
    """A user's mixer that must know the filler."""

    def __init__(self, d_model: int, filler: int | None) -> None:
        super().__init__()
        self.linear, self.filler = nn.Linear(d_model, d_model), filler

    def forward(self, x, tokens):
        return self.linear(x) * (tokens != (-1 if self.filler is None else self.filler))[..., None]


class HasItsOwn(Needs):
    """A user's mixer whose option of that name has a meaning and a default of its own."""

    def __init__(self, d_model: int, filler: float = 0.5) -> None:
        super().__init__(d_model, None)
        self.filler = filler


def filler(name, task, **options):
    """The filler token of a model's first layer."""
    (layer,) = ModelConfig(mixer=mixer(name, **options), d_model=8, n_layers=1).build(task).layers
    return layer.mixer.filler


@pytest.mark.parametrize("name", READERS)
@pytest.mark.parametrize(("one", "other"), [(0, 1), (0, 25), (3, 7)])
def test_letters_of_copy_are_alike(name, one, other):
    """Swapping two letters and their embeddings swaps their logits and changes nothing else."""
    model = ModelConfig(mixer=name, d_model=8).build(COPY).double()
    batch = COPY.sample(20, seed=0)
    swapped = torch.arange(COPY.vocab_size)
    swapped[[one, other]] = torch.tensor([other, one])
    before = model(batch.inputs)
    with torch.no_grad():
        model.embedding.weight.copy_(model.embedding.weight[swapped])
    torch.testing.assert_close(model(swapped[batch.inputs])[..., swapped], before)


@pytest.mark.parametrize(
    ("task", "token"),
    [
        (MQAR_29, 0),
        (MQAR_29.replace(filler="random"), 0),
        (AssociativeRecall(), 0),
        (COPY, None),
        (Mixture(tasks=(MQAR_29, MQAR_29.replace(seq_len=20))), 0),
        (Mixture(tasks=(COPY, Copy(min_length=8, max_length=9))), None),
        (Padded(seq_len=16, num_kv_pairs=2, vocab_size=20), 19),
    ],
)
@pytest.mark.parametrize("cls", ["input-dependent-conv", Needs])
def test_each_task_has_its_filler(cls, task, token):
    assert filler(cls, task) == token


@pytest.mark.parametrize("task", [MQAR_29, COPY])
def test_a_default_of_the_mixer_stays(task):
    assert filler(HasItsOwn, task) == 0.5
    spec = mixer(HasItsOwn)
    assert (spec.label, spec.options) == ("HasItsOwn", {"filler": 0.5})


@pytest.mark.parametrize("token", [None, 0, 5])
@pytest.mark.parametrize("task", [MQAR_29, COPY])
def test_an_option_that_is_given_stays(task, token):
    assert filler("input-dependent-conv", task, filler=token) == token
    asked = mixer("sparse-attention", filler=token)
    config = TrialConfig(task=task, model=ModelConfig(mixer=asked, d_model=8))
    assert config.model.mixer == (asked,)
    assert f"filler={token}" in config.model.label


def test_a_mixer_without_a_task_has_no_filler():
    assert mixer("input-dependent-conv").build(d_model=8).filler is None
    assert mixer(Needs).build(d_model=8).filler is None


@pytest.mark.parametrize("name", READERS)
def test_a_trial_s_key_holds_the_filler(name):
    model = ModelConfig(mixer=name, d_model=8)
    filled = TrialConfig(task=MQAR_29, model=model)
    zero = model.replace(mixer=[spec.with_filler(0) for spec in model.mixer])
    assert filled.key == TrialConfig(task=MQAR_29, model=zero).key
    assert TrialConfig(**filled.model_dump(mode="json")) == filled
    assert TrialConfig(task=COPY, model=model).key != TrialConfig(task=COPY, model=zero).key


@pytest.mark.parametrize(
    "tasks",
    [
        {"task": MQAR_29, "test_tasks": (COPY,)},
        {"task": Mixture(tasks=(MQAR_29, COPY))},
        {"task": COPY, "test_tasks": (Padded(seq_len=16, num_kv_pairs=2, vocab_size=29),)},
    ],
)
def test_tasks_that_disagree_are_refused_where_a_mixer_asks(tasks):
    model = ModelConfig(mixer="input-dependent-conv", d_model=8)
    with pytest.raises(rc.UserError, match=r"different filler tokens: .*copy-6 has None.*filler="):
        TrialConfig(model=model, **tasks)
    TrialConfig(
        model=ModelConfig(mixer=mixer("input-dependent-conv", filler=0), d_model=8), **tasks
    )
    TrialConfig(model=ModelConfig(mixer="attention", d_model=8), **tasks)
