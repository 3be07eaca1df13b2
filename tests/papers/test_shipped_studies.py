import math

import pytest

from recollect.errors import UserError
from recollect.mixers.catalogue import MIXERS
from recollect.mixers.patterns import PATTERNS
from recollect.papers.demo import demo
from recollect.papers.reproduction import REPRODUCTIONS
from recollect.papers.zoo import zoo
from recollect.papers.zoology import zoology_figure2
from recollect.studies.shipped import STUDIES


@pytest.mark.parametrize("name", STUDIES.names())
def test_every_shipped_study_is_complete_at_laptop_scale(name):
    study = STUDIES[name]("laptop")
    assert study.name == name
    assert study.title
    study.check()
    assert study.cells()


@pytest.mark.parametrize("name", STUDIES.names())
def test_an_unknown_scale_is_refused(name):
    with pytest.raises(UserError, match=r"unknown scale 'napkin'.*laptop"):
        STUDIES[name]("napkin")


def test_the_demo_has_no_paper():
    with pytest.raises(UserError, match="does not reproduce a paper"):
        demo("paper")


def test_the_zoo_has_the_whole_catalogue_at_equal_budgets():
    study = zoo("laptop")
    labels = [model.label for model in study.models]
    assert [label.partition("(")[0] for label in labels] == [*MIXERS, *PATTERNS]
    assert [label for label in labels if "(" in label] == [
        "moba(block_size=2)",
        "sliding-window(window=4)",
        "ttt-linear(mini_batch=4)",
        "based-window(window=4)",
        "griffin(window=4)",
        "samba(window=4)",
    ]
    for model in study.models:
        assert model.d_model == 64
        assert model.n_layers == max(2, len(model.mixer))
        if model.label in ("jamba", "based"):  # as published
            assert model.positions is None
            continue
        assert (model.positions == "rope") == any(spec.takes("rope") for spec in model.mixer)
    given = {model.label for model in study.models if model.short_conv}
    assert {"linear-attention", "gla", "retnet"} <= given
    assert given == {name for name in MIXERS if not MIXERS[name].looks_back}
    assert study.train_overrides == {}


def test_no_mixer_of_the_zoo_is_another_one_at_its_length():
    study = zoo("laptop")
    (task,) = study.tasks
    layers = [spec for model in study.models for spec in model.layer_mixers()]
    windows = [w for spec in layers if (w := spec.options.get("window")) is not None]
    assert len(windows) == 2 + 3  # two layers of sliding-window, griffin, samba, based-window
    for window in windows:
        assert 2 < window < task.seq_len / 2  # a key and its value, not all pairs
    blocks = [spec.options for spec in layers if spec.mixer == "moba"]
    assert all(each["block_size"] * each["n_blocks"] < task.seq_len for each in blocks)
    steps = [spec.options["mini_batch"] for spec in layers if spec.mixer == "ttt-linear"]
    assert all(2 * step < task.seq_len for step in steps)  # weights are learnt before the last
    cells = {cell.mixer: cell.attention_window for cell in study.cells()}
    assert cells["griffin(window=4)"] == cells["sliding-window(window=4)"] == 4


def test_zoology_figure2_at_paper_scale_is_the_published_grid():
    study = zoology_figure2("paper")
    cells = study.cells()
    mixers, widths, lengths = 7, 4, 4
    assert len(cells) == mixers * widths * lengths
    rates = [10**exponent for exponent in (-4, -10 / 3, -8 / 3, -2)]
    assert study.search.rates == pytest.approx(rates, rel=5e-3)
    for cell in cells:
        train, task = cell.template["train"], cell.template["task"]
        batch_size = {64: 512, 128: 512, 256: 256, 512: 128}[task["seq_len"]]
        steps_per_epoch = math.ceil(100_000 / batch_size)
        assert train["batch_size"] == batch_size
        assert train["steps"] == 64 * steps_per_epoch
        assert train["eval_every"] == steps_per_epoch
        assert (train["weight_decay"], train["warmup"], train["stop_accuracy"]) == (0.1, 0.0, 0.99)
        assert task["num_kv_pairs"] == {64: 4, 128: 8, 256: 16, 512: 64}[task["seq_len"]]
        assert task["slot_order"] == "drawn"
        assert cell.n_layers == 2


def test_what_is_drawn_as_dynamics_is_observed():
    drawn = [
        each
        for each in (REPRODUCTIONS[name] for name in REPRODUCTIONS)
        if each.figure == "dynamics"
    ]
    assert drawn
    for each in drawn:
        for scale in ("laptop", "paper"):
            assert all(study.observe for study in each.studies(scale))
