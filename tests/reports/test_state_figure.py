"""Accuracy over measured state, from a study's frames."""

from __future__ import annotations

from types import SimpleNamespace

import pandas as pd
import pytest
import torch
from made_frames import make_frames, with_diverged
from torch import nn

from recollect.errors import UserError
from recollect.reports.state import state_figure, state_lines, with_state
from recollect.reports.study_figures import study_figure
from recollect.reports.style import save
from recollect.studies.grid import models_grid
from recollect.studies.study import Study
from recollect.tasks.mqar import MQAR

WIDTHS = (8, 16)
RECALL = MQAR(seq_len=16, num_kv_pairs=2)


class Stepless(nn.Module):
    """A mixer without a step form."""

    def __init__(self, d_model: int) -> None:
        super().__init__()
        self.proj = nn.Linear(d_model, d_model)

    def forward(self, x):
        return self.proj(x)


class Unreadable(Stepless):
    """A mixer whose state holds a function."""

    def initial_state(self, batch_size):
        return lambda: batch_size

    def step(self, x_t, state):
        return self(x_t), state


class Stateless(Stepless):
    """A mixer whose step needs nothing from the past."""

    def initial_state(self, batch_size):
        return torch.zeros(batch_size, 0)

    def step(self, x_t, state):
        return self(x_t), state


def made(*mixers) -> SimpleNamespace:
    study = Study("made", tasks=RECALL, models=models_grid(mixers, d_model=WIDTHS, n_layers=2))
    labels = tuple(dict.fromkeys(model.label for model in study.models))
    frames = make_frames(labels, (RECALL.label,), WIDTHS, (2,))
    return SimpleNamespace(study="made", listed=study.cells(), frames=frames, cells=frames.cells)


def states(*mixers) -> pd.DataFrame:
    found = made(*mixers)
    return with_state(found.cells, found.listed)


def test_states_are_those_of_two_layers_after_the_whole_example() -> None:
    cells = states("attention", "linear-attention").set_index(["mixer", "d_model"])
    held = cells["state_bytes"]
    assert held["attention", 8] == 2 * 16 * 2 * 8 * 4  # layers, tokens, keys and values, float32
    assert held["attention", 16] == 2 * held["attention", 8]
    assert held["linear-attention", 16] == 2 * 16 * 17 * 4


def test_points_stand_at_their_state(tmp_path) -> None:
    cells = states("attention", "linear-attention")
    figure = state_figure(cells)
    (ax,) = figure.axes
    assert "range over seeds" in [text.get_text() for text in figure.legends[0].get_texts()]
    assert ax.get_xscale() == "log"
    drawn = {x for line in ax.get_lines() if len(line.get_xdata()) == 2 for x in line.get_xdata()}
    assert set(cells["state_bytes"]) <= drawn
    save(figure, tmp_path / "state.png")
    assert (tmp_path / "state.png").stat().st_size > 5000


def test_a_mixer_without_a_step_form_is_named_and_left_out() -> None:
    cells = states("attention", Stepless)
    (line,) = state_lines(cells)
    assert line == "not drawn, no step form: Stepless at d_model 8, Stepless at d_model 16"
    names = [text.get_text() for text in state_figure(cells).legends[0].get_texts()]
    assert "Stepless" not in names
    with pytest.raises(UserError, match=r"no cell .* not drawn, no step form: Stepless"):
        state_figure(states(Stepless))


def test_cells_without_a_place_in_the_figure_are_named() -> None:
    found = made("attention", "gru", Stateless)
    found.cells = with_diverged(found.frames, "gru").cells
    figure, lines = study_figure("state", found)
    assert [text.get_text() for text in figure.legends[0].texts][:2] == ["Attention", "chance"]
    names = "Stateless at d_model 8, Stateless at d_model 16"
    assert lines == [
        f"not drawn, a state of 0 bytes has no place on a logarithmic axis: {names}",
        "not drawn: gru at d_model 8 on mqar-16x2 (6 trials: 6 diverged)",
        "not drawn: gru at d_model 16 on mqar-16x2 (6 trials: 6 diverged)",
    ]


def test_one_state_that_is_not_measured_does_not_spoil_the_figure() -> None:
    cells = states("attention", Unreadable)
    (line,) = state_lines(cells)
    assert "holds a function, whose content cannot be read: Unreadable at d_model 8" in line
    assert state_figure(cells).axes
