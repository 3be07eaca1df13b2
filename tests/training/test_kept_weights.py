"""Weights that are kept restore the model, or a warning says why they are not kept."""

import warnings

import pytest
import torch
from changing_mixers import Counts, LazyBuffer, Mean
from torch import nn

import recollect as rc

TASK = rc.MQAR(seq_len=8, num_kv_pairs=2, vocab_size=16)


class Expanded(Mean):
    def __init__(self, d_model: int) -> None:
        super().__init__(d_model)
        self.register_buffer("gain", torch.full((1,), 2.0).expand(d_model))

    def scale(self, _x):
        return self.gain


class ExpandedAndChanged(Expanded):
    def scale(self, _x):
        if self.training:
            self.gain = (self.gain[:1] + 0.5).expand(len(self.gain))
        return self.gain


class BufferOfAParameter(Mean):
    """In the memory of a parameter, whole and in part."""

    def __init__(self, d_model: int) -> None:
        super().__init__(d_model)
        self.register_buffer("view", self.proj.weight.detach(), persistent=False)
        self.register_buffer("part", self.proj.weight.detach()[1:], persistent=False)

    def scale(self, x):
        return (x @ self.view).tanh() + self.part.sum()


class HalvesOfOne(Mean):
    """Parameters cut from one matrix, buffers that are rows of one table."""

    def __init__(self, d_model: int) -> None:
        super().__init__(d_model)
        one, other = torch.randn(2 * d_model, d_model).chunk(2)
        self.one, self.other = nn.Parameter(one), nn.Parameter(other)
        table = torch.randn(2, d_model)
        self.register_buffer("cos", table[0])
        self.register_buffer("sin", table[1])

    def scale(self, x):
        return x @ self.one * self.cos + x @ self.other * self.sin


class MadeInForward(Mean):
    def __init__(self, d_model: int) -> None:
        super().__init__(d_model)
        self.register_buffer("late", None)

    def scale(self, x):
        if self.late is None:
            self.late = torch.full((x.shape[-1],), 2.0)
        return self.late


class Extra(Mean):
    """Its extra state is all that tells what a training changes."""

    def __init__(self, d_model: int) -> None:
        super().__init__(d_model)
        hidden = [1.0]

        def scale(training: bool) -> float:
            hidden[0] += 0.05 * training
            return hidden[0]

        self.scaled, self.hidden = scale, lambda: hidden[0]

    def get_extra_state(self):
        return {"scale": torch.tensor(self.hidden())}

    def set_extra_state(self, state):
        raise NotImplementedError

    def scale(self, _x):
        return self.scaled(self.training)


class Late(Mean):
    """A plain number that changes after some steps only."""

    calls = 0

    def __init__(self, d_model: int) -> None:
        super().__init__(d_model)
        self.gain = 1.0

    def scale(self, _x):
        Late.calls += self.training
        if Late.calls == 4:
            self.gain = 3.0
        return self.gain


def kept(mixer, folder):
    """The key of a trial that was run and kept, its outputs, and the file of the study."""
    study = rc.Study(
        "s",
        tasks=[TASK],
        models=[rc.ModelConfig(mixer=mixer, d_model=8, n_layers=1)],
        train=rc.TrainConfig(
            steps=4, batch_size=4, eval_every=4, valid_examples=4, test_examples=4
        ),
        search=rc.FixedGrid(rates=[1e-2]),
        seeds=[5],
    )
    rc.run(study, store=folder / "s.db", workers=0, device="cpu", keep_weights=True)
    with rc.Store(folder / "s.db") as store:
        trial = rc.trials_frame(store, study).iloc[0]
    assert trial["status"] == "complete"
    config = study.train.replace(learning_rate=1e-2)
    return trial["key"], rc.train(study.models[0], TASK, config, seed=5, device="cpu").model


@pytest.mark.parametrize("mixer", [Expanded, ExpandedAndChanged, BufferOfAParameter, HalvesOfOne])
def test_weights_in_shared_memory_are_kept(mixer, tmp_path):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        key, trained = kept(mixer, tmp_path)
    loaded = rc.load(key, store=tmp_path / "s.db")
    tokens = TASK.sample(3, seed=9).inputs
    with torch.no_grad():
        assert torch.equal(loaded.eval()(tokens), trained.eval()(tokens))


@pytest.mark.parametrize(
    ("mixer", "reason"),
    [
        (MadeInForward, r"its forward pass changes blocks\.0\.mixer\.late"),
        (LazyBuffer, r"its forward pass changes blocks\.0\.mixer\.places"),
        (Counts, r"its forward pass changes blocks\.0\.mixer\.k"),
        (Extra, r"its forward pass changes blocks\.0\.mixer\.get_extra_state\(\)"),
        (Late, "a new model with its weights gives other outputs"),
    ],
)
def test_what_weights_do_not_restore_is_not_kept(mixer, reason, tmp_path):
    said = rf"the weights of {mixer.__name__} are not stored: {reason}"
    with pytest.warns(UserWarning, match=said):
        key, _ = kept(mixer, tmp_path)
    with pytest.raises(rc.UserError, match="were not kept"):
        rc.load(key, store=tmp_path / "s.db")
