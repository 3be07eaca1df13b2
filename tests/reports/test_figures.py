"""Figures as a reader of a paper would check them."""

import math
from dataclasses import astuple
from functools import cache
from itertools import combinations

import matplotlib.image
import numpy as np
import pandas as pd
import pytest
from made_frames import RATES, Frames, in_recipes, make_frames, with_diverged, with_unlearnt
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_hex
from matplotlib.figure import Figure

from recollect.errors import UserError
from recollect.reports.figures import accuracy_figure, learning_rate_figure, training_figure
from recollect.reports.panels import named
from recollect.reports.style import GREY, looks, save
from recollect.reports.titles import title as mixer_title

pytestmark = pytest.mark.slow

MIXERS = ("attention", "mamba", "hyena", "base-conv", "long-conv", "mamba(d_conv=0)", "Mine")
FRAMES = {
    "small": make_frames(),
    "deep": make_frames(depths=(1, 2)),
    "large": make_frames(
        MIXERS, ("mqar-64x4", "mqar-128x8", "mqar-256x16", "mqar-512x64"), (64, 128, 256, 512)
    ),
    "stuck": with_unlearnt(
        make_frames(["attention", "mamba", "hyena"], widths=(32, 64)), "hyena", 64
    ),
    "ranked": with_unlearnt(make_frames(["attention", "hyena"], widths=(64,)), "hyena", 64),
    "searched": make_frames(search_seeds=(9001, 9002)),
    "recipes": in_recipes(("", "optimizer=lion, weight_decay=1.0")),
    "crowd": make_frames([*MIXERS, "griffin", "delta-net"], depths=(2, 3), widths=(64,)),
}


def draw(kind: str, frames: Frames) -> Figure:
    if kind == "accuracy":
        return accuracy_figure(frames.cells)
    if kind == "learning-rate":
        return learning_rate_figure(frames.cells, frames.trials)
    return training_figure(frames.cells, frames.history)


@cache
def drawn(kind: str, size: str) -> Figure:
    """A figure that is looked at only."""
    return draw(kind, FRAMES[size])


def no_parts_overlap(figure: Figure) -> None:
    renderer = FigureCanvasAgg(figure).get_renderer()
    figure.draw(renderer)
    parts = [ax.get_tightbbox(renderer) for ax in figure.axes]
    parts += [legend.get_window_extent(renderer) for legend in figure.legends]
    for text in (figure._supxlabel, figure._supylabel):
        if text is not None and text.get_text():
            parts.append(text.get_window_extent(renderer))
    for one, other in combinations(parts, 2):
        across = min(one.x1, other.x1) - max(one.x0, other.x0)
        along = min(one.y1, other.y1) - max(one.y0, other.y0)
        assert min(across, along) <= 1, "one pixel at most"
    for part in parts:
        assert part.x0 >= 0
        assert part.y0 >= 0
        assert part.x1 <= figure.bbox.x1 + 1
        assert part.y1 <= figure.bbox.y1 + 1


KINDS = ("accuracy", "learning-rate", "training")


def legend_texts(figure: Figure) -> list[str]:
    return [text.get_text() for text in figure.legends[0].get_texts()]


@pytest.mark.parametrize("kind", KINDS)
def test_files_have_ink_and_embedded_fonts(kind, tmp_path):
    figure = drawn(kind, "small")
    save(figure, tmp_path / "figure.png")
    pixels = matplotlib.image.imread(tmp_path / "figure.png")
    assert pixels.shape[1] == pytest.approx(3.4 * 300, abs=2)  # a column of a paper at 300 dpi
    assert pixels[..., :3].std() > 0.05
    save(figure, tmp_path / "figure.pdf")
    pdf = (tmp_path / "figure.pdf").read_bytes()
    assert b"/FontFile2" in pdf  # an embedded TrueType font
    assert b"/Type3" not in pdf


@pytest.mark.parametrize("form", ["png", "pdf", "svg"])
def test_the_same_figure_gives_the_same_bytes(form, tmp_path):
    once, twice = tmp_path / f"once.{form}", tmp_path / f"twice.{form}"
    save(draw("accuracy", FRAMES["small"]), once)
    save(draw("accuracy", FRAMES["small"]), twice)
    assert once.read_bytes() == twice.read_bytes()
    if form == "svg":
        assert b"<text" in once.read_bytes()  # words that can be searched and edited


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("size", FRAMES)
def test_nothing_overlaps(kind, size):
    no_parts_overlap(drawn(kind, size))


@pytest.mark.parametrize("kind", KINDS)
def test_the_legend_names_everything_that_is_drawn(kind):
    assert "Griffin, window 64" in legend_texts(draw(kind, make_frames(["griffin"])))
    assert {"Attention", "Mamba", "chance"} <= set(legend_texts(drawn(kind, "small")))
    assert {"1 layer", "2 layers"} <= set(legend_texts(drawn(kind, "deep")))
    assert not {"1 layer", "2 layers"} & set(legend_texts(drawn(kind, "small")))


@pytest.mark.parametrize("kind", KINDS)
def test_a_mixer_has_its_colour_in_every_panel_of_every_figure(kind):
    for ax in drawn(kind, "large").axes:
        colours = {to_hex(line.get_color()).upper() for line in ax.get_lines()}
        assert {look.colour.upper() for look in looks(MIXERS).values()} <= colours


def test_accuracy_over_width():
    figure, cells = drawn("accuracy", "large"), FRAMES["large"].cells
    assert [ax.get_title() for ax in figure.axes] == list(cells["task"].unique())
    for ax in figure.axes:
        assert ax.get_xscale() == "log"
        assert list(ax.get_xticks()) == [64, 128, 256, 512]
        assert ax.get_ylim()[0] <= 0
        assert ax.get_ylim()[1] >= 1
    values = next(line for line in figure.axes[0].get_lines() if line.get_marker() == "o")
    shown = cells[(cells["task"] == "mqar-64x4") & (cells["mixer"] == "attention")]
    assert list(values.get_ydata()) == list(shown["test_accuracy"])


def test_accuracy_over_learning_rate():
    figure = drawn("learning-rate", "small")
    assert [ax.get_title() for ax in figure.axes] == ["d_model = 64", "d_model = 128"]
    for ax in figure.axes:
        assert ax.get_xscale() == "log"
        assert len(ax.collections) >= 2  # a shaded window for each mixer
    hollow = [
        line
        for line in figure.axes[0].get_lines()
        if line.get_markerfacecolor() == "white" and line.get_ydata()[0] > 0
    ]
    assert {rate for line in hollow for rate in line.get_xdata()} == {RATES[0]}  # the stopped one
    rings = [line for line in figure.axes[0].get_lines() if line.get_markerfacecolor() == "none"]
    assert [list(ring.get_xdata()) for ring in rings] == [[RATES[1]]] * 2  # the chosen one


def test_training_shows_every_seed_at_the_chosen_rate():
    figure = drawn("training", "small")
    loss = figure.axes[0]
    assert loss.get_yscale() == "log"
    assert "nats" in loss.get_ylabel()
    assert len(loss.get_lines()) == 4  # two mixers, two seeds
    assert all(np.array_equal(line.get_xdata(), [0, 100, 200]) for line in loss.get_lines())


def test_recipes_that_differ_are_told_apart():
    plain = make_frames(["attention"]).cells
    figure = accuracy_figure(pd.concat([plain, plain.assign(recipe="mlp=gelu")]))
    assert legend_texts(figure)[:2] == ["Attention", "Attention [mlp=gelu]"]


@pytest.mark.parametrize("kind", KINDS)
def test_a_study_that_is_half_done_is_drawn(kind):
    cells, trials, history = astuple(make_frames())
    for name in ("learning_rate", "test_accuracy", "window_low", "window_high"):
        cells.loc[cells["d_model"] == 128, name] = np.nan
    frames = Frames(cells, trials[trials["d_model"] == 64], history[history["d_model"] == 64])
    figure = draw(kind, frames)
    figure.draw_without_rendering()
    assert any(np.isfinite(line.get_ydata()).any() for ax in figure.axes for line in ax.get_lines())


def test_other_formats_are_refused(tmp_path):
    with pytest.raises(UserError, match="pdf, png, svg"):
        save(drawn("accuracy", "small"), tmp_path / "figure.jpg")
    assert not list(tmp_path.iterdir())


def test_at_a_single_width_the_mixers_stand_in_their_order():
    cells = make_frames(["griffin", "mamba", "attention"], ["a", "b"], widths=[64]).cells
    cells.loc[cells["mixer"] == "griffin", "n_layers"] = 3
    cells["test_accuracy"] = [0.9, 0.5, 0.7, 0.1, 0.3, np.nan]
    figure = accuracy_figure(cells)
    names = [label.get_text() for label in figure.axes[0].get_yticklabels()]
    assert names == ["Mamba, 2 layers", "Attention, 2 layers", "Griffin, window 64, 3 layers"]
    assert [points(ax) for ax in figure.axes] == [
        [(0.9, 2), (0.5, 0), (0.7, 1)],
        [(0.1, 2), (0.3, 0)],
    ]


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("tasks", [["a"], ["a", "b", "c"]])
def test_long_names_have_room_in_a_ranking(tasks):
    cells = make_frames([*MIXERS, "griffin"], tasks, widths=[64]).cells
    cells["recipe"] = [f"short_conv=3, positions=rope, mlp=gelu{i}" for i in range(len(cells))]
    figure = accuracy_figure(cells)
    no_parts_overlap(figure)
    for ax in figure.axes:
        assert ax.get_position().width * figure.get_figwidth() > 1


def test_a_ranking_leaves_out_who_has_no_result():
    cells = make_frames(["griffin", "mamba"], widths=[64]).cells
    cells.loc[1, "test_accuracy"] = np.nan
    names = [label.get_text() for label in accuracy_figure(cells).axes[0].get_yticklabels()]
    assert names == ["Griffin, window 64"]


@pytest.mark.parametrize("kind", ["learning-rate", "training"])
def test_each_of_many_mixers_has_a_panel_in_order_of_its_recall(kind):
    cells = FRAMES["crowd"].cells.sort_values("test_accuracy", ascending=False, kind="stable")
    titles = [ax.get_title() for ax in drawn(kind, "crowd").axes]
    assert len(titles) == len(cells) == 18
    best = cells.iloc[0]
    assert titles[0].startswith(mixer_title(best["mixer"]))
    assert f"{best['n_layers']} layers" in titles[0]
    for ax in drawn(kind, "crowd").axes:
        assert any(line.get_marker() not in ("None", "") for line in ax.get_lines())


def test_curves_of_many_mixers_have_no_empty_panel():
    """A mixer without results gets none; one whose trials ended at the first validation a point."""
    cells, trials, history = astuple(FRAMES["crowd"])
    unknown = (cells["mixer"] == "hyena") & (cells["n_layers"] == 2)
    cells = cells.assign(finished=~unknown)
    cells.loc[unknown, "test_accuracy"] = np.nan
    first = history.groupby("key").head(1)
    figure = draw("training", Frames(cells, trials, first))
    assert len(figure.axes) == len(cells) - 1
    for ax in figure.axes:
        points = [line for line in ax.get_lines() if len(line.get_xdata()) == 1]
        assert points
        assert all(line.get_markevery() is None for line in points)


def test_a_few_mixers_in_many_recipes_have_a_column_for_each():
    figure = drawn("learning-rate", "recipes")
    assert [ax.get_title() for ax in figure.axes] == [
        "default",
        "optimizer=lion\nweight_decay=1.0",
    ]
    mixers = set(FRAMES["recipes"].cells["mixer"])
    assert {mixer_title(mixer) for mixer in mixers} <= set(legend_texts(figure))
    drawn_curves = [len(ax.containers) for ax in figure.axes]
    assert drawn_curves == [len(mixers)] * 2


def points(ax) -> list[tuple[float, float]]:
    lines = [line.get_xydata() for line in ax.get_lines() if line.get_marker() not in ("None", "")]
    return [tuple(line[0]) for line in lines if np.isfinite(line).all()]


def test_rates_that_failed_are_marked_without_an_accuracy():
    frames = make_frames()
    failed = frames.trials["learning_rate"] == 1e-2
    trials = frames.trials.assign(
        status=frames.trials["status"].mask(failed, "failed"),
        valid_accuracy=frames.trials["valid_accuracy"].mask(failed),
    )
    figure = learning_rate_figure(frames.cells, trials)
    assert "trials failed" in legend_texts(figure)
    assert "trials failed" not in legend_texts(drawn("learning-rate", "small"))
    for ax in figure.axes:
        crosses = [line for line in ax.get_lines() if line.get_marker() == "x"]
        assert [list(line.get_xdata()) for line in crosses] == [[1e-2], [1e-2]]
        heights = {line.get_ydata()[0] for line in crosses}
        assert len(heights) == 2  # a line for each mixer
        assert max(heights) < 0
        crossed = [(1e-2, height) for height in heights]
        under = [line for line in ax.get_lines() if tuple(line.get_xydata()[0]) in crossed]
        assert {"o", "s"} <= {line.get_marker() for line in under}
    no_parts_overlap(figure)


UNLEARNT = "not learnt in the budget"


def hollow(ax) -> list[tuple[float, float]]:
    """The points that are drawn hollow with an edge in grey."""
    lines = [line for line in ax.get_lines() if line.get_marker() not in ("None", "")]
    grey = [line for line in lines if to_hex(line.get_markeredgecolor()) == GREY]
    return [tuple(point) for line in grey for point in line.get_xydata()]


@pytest.mark.parametrize("size", ["stuck", "ranked"])
def test_what_has_not_learnt_is_hollow(size):
    figure, cells = drawn("accuracy", size), FRAMES[size].cells
    (stuck,) = cells.loc[~cells["learnt"].astype(bool), "test_accuracy"]
    (place,) = hollow(figure.axes[0])
    assert stuck in place
    assert legend_texts(figure).count(UNLEARNT) == 1
    assert UNLEARNT not in legend_texts(drawn("accuracy", "small"))


def test_points_stand_at_their_width_and_bars_side_by_side():
    (ax, *_), cells = drawn("accuracy", "small").axes, FRAMES["small"].cells
    widths = set(cells["d_model"])
    points = [line for line in ax.get_lines() if line.get_marker() not in ("None", "")]
    assert {x for line in points for x in line.get_xdata()} == widths
    bars = [bar.get_segments() for each in ax.containers for bar in each.lines[2]]
    places = [round(float(segment[0][0]), 6) for segments in bars for segment in segments]
    assert len(set(places)) == len(places) > len(widths)
    assert all(min(abs(math.log2(x / width)) for width in widths) < 0.3 for x in places)


def test_lines_join_what_has_learnt_alone():
    cells = FRAMES["stuck"].cells
    (stuck,) = cells.loc[~cells["learnt"].astype(bool), "test_accuracy"]
    drawn_lines = drawn("accuracy", "stuck").axes[0].get_lines()
    with_markers = [line for line in drawn_lines if line.get_marker() not in ("None", "")]
    lines = [line for line in with_markers if line.get_linestyle() != "None"]
    assert len(lines) == 3
    assert not any(stuck in line.get_ydata() for line in lines)


@pytest.mark.parametrize("kind", ["learning-rate", "training"])
def test_what_has_not_learnt_is_hollow_over_rates_and_steps(kind):
    figure = drawn(kind, "stuck")
    assert legend_texts(figure).count(UNLEARNT) == 1
    assert UNLEARNT not in legend_texts(drawn(kind, "small"))
    learnt, stuck = figure.axes[-2:]
    assert not hollow(learnt)
    assert {height for _, height in hollow(stuck)} == {0.24}
    if kind == "learning-rate":
        lines = [bars.lines[0] for bars in stuck.containers]
        assert [line.get_linestyle() for line in lines] == ["-", "-", "None"]


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("mixers", [["attention", "mamba"], ["mamba"]])
def test_mixers_that_diverged_at_every_rate_leave_room_for_the_others(kind, mixers):
    figure = draw(kind, with_diverged(make_frames(mixers), "mamba"))
    no_parts_overlap(figure)
    assert all(ax.get_position().width * figure.get_figwidth() > 1 for ax in figure.axes)
    if kind == "learning-rate":
        for ax in figure.axes:
            assert sorted(hollow(ax)) == [(rate, 0.0) for rate in RATES]


def test_rates_at_which_every_seed_diverged_are_hollow():
    frames = make_frames(["mamba"], widths=[64])
    trials = frames.trials.assign(status="diverged", valid_accuracy=0.0)
    (ax,) = learning_rate_figure(frames.cells, trials).axes
    white = [line for line in ax.get_lines() if line.get_markerfacecolor() == "white"]
    assert list(RATES) in [list(line.get_xdata()) for line in white]


def test_a_strip_carries_the_marker_of_its_mixer():
    frames = make_frames(["mamba", "retnet"], widths=[64])
    (ax,) = learning_rate_figure(frames.cells, frames.trials).axes
    below = [line for line in ax.get_lines() if line.get_ydata()[0] < 0]
    for look in looks(["mamba", "retnet"]).values():
        own = [
            line.get_marker() for line in below if to_hex(line.get_color()).upper() == look.colour
        ]
        assert look.marker in own


def test_a_panel_of_its_own_says_that_nothing_was_learnt():
    cells, trials, history = astuple(FRAMES["crowd"])
    of_hyena = (cells["mixer"] == "hyena") & (cells["n_layers"] == 2)
    figure = draw("training", Frames(cells.assign(learnt=~of_hyena), trials, history))
    titles = [ax.get_title() for ax in figure.axes if UNLEARNT in ax.get_title()]
    assert titles == [f"Hyena\nd_model 64, 2 layers\n{UNLEARNT}"]
    no_parts_overlap(figure)


def test_seeds_of_the_search_are_told_apart():
    figure, trials = drawn("learning-rate", "searched"), FRAMES["searched"].trials
    assert "search seeds only" in legend_texts(figure)
    assert "search seeds only" not in legend_texts(drawn("learning-rate", "small"))
    mamba = trials[(trials["mixer"] == "mamba") & (trials["d_model"] == 64)]
    reported = mamba[~mamba["searching"]].groupby("learning_rate")["valid_accuracy"].mean()
    searched = mamba[mamba["learning_rate"] == RATES[2]]["valid_accuracy"].mean()
    line = figure.axes[0].containers[1].lines[0]
    assert list(line.get_xdata()) == list(reported.index) == [*RATES[:2]]
    assert list(line.get_ydata()) == list(reported)
    small = [line for line in figure.axes[0].get_lines() if line.get_markersize() < 3]
    assert (RATES[2], searched) in [tuple(line.get_xydata()[0]) for line in small]


def test_training_shows_the_seeds_that_are_reported():
    loss = drawn("training", "searched").axes[0]
    assert len(loss.get_lines()) == 4  # two mixers, two seeds


@pytest.mark.parametrize("recipes", [("", "mlp=gelu"), ("norm=rmsnorm", "mlp=gelu")])
def test_a_recipe_without_trials_gives_its_name_to_no_other(recipes):
    """Its curves would be drawn as those of the other recipe."""
    cells, trials, history = astuple(in_recipes(recipes))
    trials, history = (each[each["recipe"] == recipes[1]] for each in (trials, history))
    names = set(cells["mixer"] + f" [{recipes[1]}]")
    assert set(named(trials, cells)["mixer"]) == set(named(history, cells)["mixer"]) == names
    learning_rate_figure(cells, trials)
    training_figure(cells, history)


def test_the_bars_of_many_mixers_stay_at_their_width():
    mixers = [f"attention(n_heads={n})" for n in range(1, 31)]
    (ax,) = accuracy_figure(make_frames(mixers).cells).axes
    bars = [bar.get_segments() for each in ax.containers for bar in each.lines[2]]
    places = [float(segment[0][0]) for segments in bars for segment in segments]
    assert len(set(places)) == len(places) == 60
    assert all(min(abs(math.log2(x / width)) for width in (64, 128)) < 0.3 for x in places)
