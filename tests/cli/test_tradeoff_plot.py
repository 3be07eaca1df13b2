"""`recollect plot --kind tradeoff`."""

import json
from dataclasses import asdict

import matplotlib.image
import pytest
from typed import typed

from recollect.bench.measurement import Place


@pytest.fixture
def bench(tmp_path):
    """Attention at one of the widths of the tiny study."""
    place = Place("mixers", "attention", {"d_model": 8, "length": 16})
    found = [place.measured("decoding", "tokens/s", [5.0]), place.measured("state", "bytes", [9.0])]
    path = tmp_path / "bench.json"
    path.write_text(json.dumps({"machine": {}, "measurements": list(map(asdict, found))}))
    return path


def test_the_figure_and_what_it_lacks(stored, bench, tmp_path):
    one = tmp_path / "one.png"
    words = ["plot", "--store", stored, "--kind", "tradeoff", "--bench", bench]
    answer = typed(*words, "--out", one)
    assert answer.code == 0
    assert matplotlib.image.imread(one).std() > 0
    assert "attention at d_model 16" in answer.err
    assert "attention at d_model 8" not in answer.err
    assert typed(*words, "--out", tmp_path / "folder").code == 0
    assert (tmp_path / "folder" / "tradeoff.pdf").exists()


def test_it_needs_a_benchmark_and_no_other_figure_does(stored, bench, tmp_path):
    for words, part in [
        (["--kind", "tradeoff"], "--bench FILE"),
        (["--kind", "training", "--bench", bench], "--kind tradeoff"),
        (["--bench", bench], "--kind tradeoff"),
        (["--kind", "tradeoff", "--bench", tmp_path / "no.json"], "no.json"),
        (["--kind", "tradeoff", "--bench", stored], "was not written by"),
    ]:
        answer = typed("plot", "--store", stored, *words, "--out", tmp_path / "figures")
        assert (answer.code, answer.out) == (2, "")
        assert part in answer.err
    assert not (tmp_path / "figures").exists()
