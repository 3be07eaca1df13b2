"""Figures of models that were observed in training."""

from dataclasses import replace

import matplotlib.image
import numpy as np
import pandas as pd
import pytest
import torch
from made_frames import LENGTH, STEPS, Frames, make_frames, make_observations
from matplotlib.figure import Figure
from test_figures import legend_texts, no_parts_overlap

from recollect.reports.attention_map import attention_map_figure
from recollect.reports.dynamics import dynamics_figure
from recollect.reports.gaps import gaps_figure
from recollect.reports.style import save

pytestmark = pytest.mark.slow

KINDS = ("dynamics", "attention-map", "gaps")
FRAMES = {
    "small": make_frames(widths=[64]),
    "large": make_frames(["griffin"], ["a", "b", "c"], widths=[64], depths=(1, 3)),
}


def draw(kind: str, frames: Frames) -> Figure:
    seen = make_observations(frames)
    if kind == "dynamics":
        return dynamics_figure(frames.cells, frames.history, seen.dynamics)
    if kind == "gaps":
        return gaps_figure(frames.cells, seen.dynamics)
    return attention_map_figure(seen.trials, seen.maps)


def shown(figure: Figure) -> list:
    return [ax for ax in figure.axes if ax.axison]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("size", FRAMES)
def test_nothing_overlaps_and_there_is_ink(kind, size, tmp_path):
    figure = draw(kind, FRAMES[size])
    no_parts_overlap(figure)
    save(figure, tmp_path / "figure.png")
    assert matplotlib.image.imread(tmp_path / "figure.png")[..., :3].std() > 0.03


def test_dynamics_has_three_panels_for_every_model():
    frames = make_frames(widths=[64])
    history = frames.history.copy()
    sudden = {0: 4.0, 100: 0.5, 200: 0.4}
    history["valid_loss"] = history["step"].map(sudden)
    seen = make_observations(frames)
    axes = shown(dynamics_figure(frames.cells.assign(budget=200), history, seen.dynamics))
    assert len(axes) == 6
    loss, accuracy, scores = axes[0], axes[2], axes[4]
    assert loss.get_title() == "Attention\nd_model 64, 2 layers"
    assert loss.get_yscale() == "log"
    curves = [line for line in loss.get_lines() if len(line.get_xdata()) == 3]
    assert [list(line.get_ydata()) for line in curves] == [list(sudden.values())] * 2
    assert len([line for line in accuracy.get_lines() if list(line.get_xdata()) == [*STEPS]]) == 2
    induction = [line for line in scores.get_lines() if line.get_color() == "#882255"]
    assert len(induction) == 2 * 3 * 2  # layers; the matrix and two heads; seeds
    assert all(list(line.get_ydata()) == [0, 0.5, 1] for line in induction)
    rings = [line for line in loss.get_lines() if line.get_markerfacecolor() == "none"]
    assert [line.get_xdata()[0] for line in rings if line.get_marker() == "o"] == [50, 50]


def test_a_sudden_drop_goes_through_all_panels_and_a_smooth_one_does_not():
    frames = make_frames(["mamba"], widths=[64])
    steps = np.arange(0, 2001, 50)
    trials = frames.history.query("step == 0").drop(columns=["step", "valid_loss"])
    plateau = np.where(steps < 1000, 4.0, 0.1)
    smooth = 4 * np.exp(-steps / 500)
    for losses, count in ((plateau, 1), (smooth, 0)):
        curve = pd.DataFrame({"step": steps, "valid_loss": losses})
        history = trials.merge(curve, how="cross")
        figure = dynamics_figure(frames.cells, history, make_observations(frames).dynamics)
        for ax in shown(figure):
            lines = {x for line in ax.get_lines() if _is_vertical(line) for x in line.get_xdata()}
            assert len(lines) == count


def _is_vertical(line) -> bool:
    return list(line.get_ydata()) == [0, 1] and line.get_xdata()[0] == line.get_xdata()[-1]


def test_gaps_are_taken_together_by_powers_of_two():
    frames = FRAMES["small"]
    gaps, pairs = draw("gaps", frames).axes
    assert gaps.get_xscale() == "log"
    (curve,) = [line for line in gaps.get_lines() if line.get_marker() == "o"]
    assert list(curve.get_xdata()) == [2, 4, 8]
    assert list(curve.get_ydata()) == pytest.approx([1 / 2, (1 / 4 + 1 / 6) / 2, 1 / 8])
    (curve,) = [line for line in pairs.get_lines() if line.get_marker() == "o"]
    assert [tuple(point) for point in curve.get_xydata()] == [(1, 1), (2, 1)], "the last step"
    assert {"Attention", "Mamba", "chance"} <= set(legend_texts(draw("gaps", frames)))


def test_the_map_marks_keys_and_what_followed_them():
    figure = draw("attention-map", FRAMES["small"])
    axes = [ax for ax in shown(figure) if ax.images]
    assert [ax.get_title().splitlines()[0::2] for ax in axes] == [
        ["Attention", "layer 1"],
        ["Attention", "layer 2"],
        ["Mamba", "layer 1"],
        ["Mamba", "layer 2"],
    ]
    (image,) = axes[0].images
    assert image.get_array().shape == (LENGTH, LENGTH)
    marks = {line.get_marker(): line.get_xydata().tolist() for line in axes[0].get_lines()}
    assert marks == {"s": [[2, 4], [0, 6]], "o": [[3, 4], [1, 6]]}
    assert [label.get_text() for label in axes[0].get_xticklabels()][:3] == ["k1", "v1", "k2"]


def test_long_examples_name_queries_and_what_they_look_for_alone():
    seen = make_observations(FRAMES["small"])
    long = {
        key: replace(each, tokens=(*each.tokens, *["."] * 56), matrices=torch.zeros(2, 64, 64))
        for key, each in seen.maps.items()
    }
    ax = attention_map_figure(seen.trials, long).axes[0]
    assert [label.get_text() for label in ax.get_yticklabels()] == ["k2", "k1"]
    assert [label.get_text() for label in ax.get_xticklabels()] == ["k1", "v1", "k2", "v2"]


@pytest.mark.parametrize("kind", ["dynamics", "gaps"])
def test_models_that_were_not_observed_are_left_out(kind):
    frames = make_frames(widths=[64])
    part = replace(frames, trials=frames.trials[frames.trials["mixer"] == "mamba"])
    seen = make_observations(part).dynamics
    if kind == "dynamics":
        axes = shown(dynamics_figure(frames.cells, frames.history, seen))
        assert len(axes) == 3
        assert axes[0].get_title().startswith("Mamba")
    else:
        assert "Attention" not in legend_texts(gaps_figure(frames.cells, seen))
