"""Capacity, from a study's frames and the states of its models."""

from __future__ import annotations

import matplotlib.image
import pandas as pd
import pytest
from made_frames import make_frames
from torch import nn

from recollect.analysis.capacity import LINEAR_BITS
from recollect.errors import UserError
from recollect.reports.capacity import capacity_figure, capacity_lines, with_capacity
from recollect.reports.style import save
from recollect.studies.grid import models_grid
from recollect.studies.study import Study
from recollect.tasks.mqar import MQAR
from recollect.tasks.task import Task, task

MIXERS, WIDTHS = ("attention", "linear-attention"), (8, 16)
RECALL = MQAR(seq_len=16, num_kv_pairs=2)


def capacity(recall: Task = RECALL, loss: float = 0.5, mixers=MIXERS) -> pd.DataFrame:
    study = Study("made", tasks=recall, models=models_grid(mixers, d_model=WIDTHS, n_layers=1))
    labels = tuple(dict.fromkeys(model.label for model in study.models))
    frames = make_frames(labels, (recall.label,), WIDTHS, (1,))
    losses = loss + 0.1 * (frames.trials["seed"] == 42) - 0.05
    return with_capacity(
        frames.cells.assign(test_loss=loss), frames.trials.assign(test_loss=losses), study.cells()
    )


def test_what_a_cell_holds() -> None:
    cells = capacity()
    first = cells.iloc[0]
    assert (first["mixer"], first["d_model"], first["state_numbers"]) == ("attention", 8, 4 * 16)
    assert first["asked_bits"] == pytest.approx(24, abs=0.01)
    assert first["recovered_bits"] == pytest.approx(
        first["asked_bits"] - 2 * 0.5 * 1.4427, abs=0.01
    )
    assert first["recovered_bits_min"] < first["recovered_bits"] < first["recovered_bits_max"]
    assert first["bits_per_number"] == pytest.approx(first["recovered_bits"] / 64)
    assert first["bits_per_bit"] == pytest.approx(first["bits_per_number"] / 32)
    (line,) = [each for each in capacity_lines(cells) if each.startswith("attention at d_model 8")]
    assert line.endswith(
        "22.6 of 24.0 bits in 64 numbers, 0.352 per number and 0.011 per stored bit"
    )


def test_the_figure(tmp_path) -> None:
    figure = capacity_figure(capacity())
    (ax,) = figure.axes
    texts = [text.get_text() for text in figure.legends[0].get_texts()]
    assert texts[:2] == ["Attention", "Linear attention"]
    assert {"32 bits per number", "0.72 bits per number", "entropy of all answers"} <= set(texts)
    slopes = {
        round(line.get_ydata()[0] / line.get_xdata()[0], 6)
        for line in ax.get_lines()
        if len(line.get_xdata()) == 2 and line.get_linestyle() == "--"
    }
    assert round(LINEAR_BITS, 6) in slopes
    save(figure, tmp_path / "capacity.png")
    assert matplotlib.image.imread(tmp_path / "capacity.png")[..., :3].std() > 0.05


def test_a_model_that_knows_nothing_is_drawn_at_zero() -> None:
    cells = capacity(loss=9.0)
    assert (cells["recovered_bits"] == 0).all()
    assert capacity_figure(cells).axes


class Memoryless(nn.Module):
    """A mixer whose state is empty."""

    def __init__(self, d_model: int) -> None:
        super().__init__()
        self.proj = nn.Linear(d_model, d_model)

    def forward(self, x):
        return self.proj(x)

    def initial_state(self, batch_size):  # noqa: ARG002
        return ()

    def step(self, x_t, state):
        return self.proj(x_t), state


def test_a_mixer_without_a_state_is_left_out_with_the_reason() -> None:
    cells = capacity(mixers=("attention", Memoryless))
    missing = [line for line in capacity_lines(cells) if line.startswith("no capacity")]
    assert len(missing) == len(WIDTHS)
    assert missing[0].startswith("no capacity: Memoryless at d_model 8")
    assert missing[0].endswith("(its state holds no numbers)")
    assert capacity_figure(cells).axes


def test_a_study_of_tasks_that_do_not_say_what_they_ask() -> None:
    cells = capacity(task("depo", min_nodes=3, max_nodes=3))
    assert next(iter(capacity_lines(cells))).startswith("no capacity: attention at d_model 8")
    with pytest.raises(UserError, match="no cell of the study has a capacity: expected a task of"):
        capacity_figure(cells)
