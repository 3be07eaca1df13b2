"""Recall against cost, from a study's frame and what a benchmark has written."""

import json
from dataclasses import asdict

import matplotlib.image
import pandas as pd
import pytest
from made_frames import make_frames, with_unlearnt

from recollect.bench.measurement import Place
from recollect.errors import UserError
from recollect.reports.bench_file import read_bench
from recollect.reports.style import save
from recollect.reports.tradeoff import tradeoff_figure, with_costs

TASKS = {"mqar-64x4": 64, "mqar-512x64": 512}
LENGTHS = (32, 100, 4096)


def document(mixers=("attention", "mamba"), widths=(64, 128), benchmark="mixers"):
    """Decoding is 1000 x length, the state is the width."""
    found = []
    for mixer in mixers:
        for width in widths:
            for length in LENGTHS:
                place = Place(benchmark, mixer, {"d_model": width, "length": length, "batch": 4})
                found.append(place.measured("prefill", "tokens/s", [7.0, 8.0, 9.0]))
                rates = [1000.0 * length, 1.0, 1e9]
                found.append(place.measured("decoding", "tokens/s", rates))
                found.append(place.measured("state", "bytes", [width]))
    return {"machine": {}, "measurements": list(map(asdict, found)), "left_out": []}


@pytest.fixture
def write(tmp_path):
    def write(text):
        path = tmp_path / "bench.json"
        path.write_text(text if isinstance(text, str) else json.dumps(text))
        return path

    return write


def test_a_document_is_read(write):
    bench = read_bench(write(document()))
    assert list(bench.columns) == ["mixer", "d_model", "length", "decoding", "state"]
    assert len(bench) == 2 * 2 * len(LENGTHS)
    row = bench[(bench["mixer"] == "mamba") & (bench["d_model"] == 128)].iloc[0]
    assert (row["length"], row["decoding"], row["state"]) == (32, 32_000, 128)


@pytest.mark.parametrize(
    "text",
    ["", "{", "[]", "{}", '{"measurements": [{"benchmark": "mixers"}]}', '{"measurements": 7}'],
)
def test_what_is_no_such_document(write, text):
    with pytest.raises(UserError, match="was not written by `recollect bench`"):
        read_bench(write(text))


def test_a_document_that_was_cut(write):
    text = json.dumps(document())
    with pytest.raises(UserError, match="no result"):
        read_bench(write(text[: len(text) // 2]))


def test_a_document_of_other_benchmarks_and_a_missing_one(write, tmp_path):
    with pytest.raises(UserError, match="has no decoding"):
        read_bench(write(document(benchmark="step")))
    with pytest.raises(UserError, match="cannot read"):
        read_bench(tmp_path / "missing.json")


def test_costs_are_those_of_the_width_at_the_nearest_length(write):
    cells = make_frames(tasks=tuple(TASKS)).cells
    costs = with_costs(cells, read_bench(write(document(widths=(64,)))), TASKS)
    measured = costs[costs["d_model"] == 64]
    assert set(measured["state"]) == {64}
    # 64 is nearer to 100 than to 32, as a ratio; 512 is nearer to 100 than to 4096
    assert set(measured["decoding"]) == {100_000}
    assert costs[costs["d_model"] == 128]["state"].isna().all()


def test_the_figure(write, tmp_path):
    cells = make_frames(("attention", "mamba", "hyena"), tuple(TASKS)).cells
    costs = with_costs(cells, read_bench(write(document())), TASKS)
    figure = tradeoff_figure(costs)
    assert len(figure.axes) == 4
    texts = [text.get_text() for text in figure.legends[0].get_texts()]
    assert texts == ["Attention", "Mamba", "chance", "lines join d_model 64, 128"]
    decoding, state = figure.axes[:2]
    assert (decoding.get_xscale(), state.get_xscale()) == ("log", "log")
    of_mamba = cells[(cells["mixer"] == "mamba") & (cells["task"] == "mqar-64x4")]
    curve = state.containers[1].lines[0]
    assert list(curve.get_xdata()) == [64, 128]
    assert list(curve.get_ydata()) == list(of_mamba["test_accuracy"])
    save(figure, tmp_path / "tradeoff.png")
    assert matplotlib.image.imread(tmp_path / "tradeoff.png")[..., :3].std() > 0.05


def test_nothing_to_draw(write):
    cells = make_frames(["hyena"]).cells
    costs = with_costs(cells, read_bench(write(document())), TASKS)
    assert pd.isna(costs["decoding"]).all()
    with pytest.raises(UserError, match="--mixers and --widths"):
        tradeoff_figure(costs)


def test_no_line_goes_through_what_has_not_learnt(write):
    frames = with_unlearnt(
        make_frames(["attention"], ["mqar-64x4"], (64, 128, 256)), "attention", 128
    )
    bench = read_bench(write(document(widths=(64, 128, 256))))
    figure = tradeoff_figure(with_costs(frames.cells, bench, TASKS))
    joined, alone = (each.lines[0] for each in figure.axes[1].containers)
    assert list(joined.get_xdata()) == [64, 256]
    assert (list(alone.get_xdata()), alone.get_markerfacecolor()) == ([128], "none")
    texts = [text.get_text() for text in figure.legends[0].get_texts()]
    assert "not learnt in the budget" in texts
