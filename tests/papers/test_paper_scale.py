"""At the paper's scale every entry has exactly the published runs in the published settings."""

import math

import pytest
from made_store import STUDIED

from recollect.errors import UserError
from recollect.papers.cell_results import CellResults
from recollect.papers.reproduction import REPRODUCTIONS
from recollect.tasks.mqar import MQAR

pytestmark = pytest.mark.slow

LENGTHS = {64: (4, 512), 128: (8, 512), 256: (16, 256), 512: (64, 128)}
"""Pairs and batch size."""
RATES, SEEDS = 19, 3
RUNS = {
    # mixers x lengths x widths x depths
    "revisiting-figure1": 3 * 4 * 6 * RATES * SEEDS,
    "revisiting-figure2": 6 * 4 * 6 * RATES * SEEDS,
    "revisiting-figure3": 5 * 4 * 6 * RATES * SEEDS,
    "revisiting-figure4": 5 * 1 * 6 * 2 * RATES * SEEDS,
    "revisiting-figure6": 3 * 1 * 6 * RATES * SEEDS,
    "revisiting-figure7": 4 * 4 * 3 * RATES * SEEDS,
    "revisiting-table2": 11 * 1 * 6 * RATES * SEEDS,
    "zoology-figure2": 7 * 4 * 4 * 4,
}
"""Each trial once: Zoology's rates are among the fine ones."""
LAYERS = {
    "revisiting-figure1": {2},
    "revisiting-figure2": {2},
    "revisiting-figure3": {1},
    "revisiting-figure4": {1, 2},
    "revisiting-figure6": {1},
    "revisiting-figure7": {1, 2},
    "revisiting-table2": {1, 2},
}
WIDTHS = [64, 128, 256, 512, 1024, 2048]


def cells(name: str):
    return [cell for study in REPRODUCTIONS[name].studies("paper") for cell in study.cells()]


def keys(name: str) -> set[str]:
    return {
        cell.key(rate, seed)
        for cell in cells(name)
        for rate in cell.search.rates
        for seed in cell.seeds
    }


@pytest.mark.parametrize("name", RUNS)
def test_the_number_of_runs(name):
    assert len(keys(name)) == RUNS[name]


def test_all_others_lack_a_setting():
    others = set(STUDIED) - set(RUNS)
    assert others == {"revisiting-figure5", "revisiting-table1"}
    for name in others:
        assert REPRODUCTIONS[name].obstacles("paper")
        assert not REPRODUCTIONS[name].obstacles("laptop")


@pytest.mark.parametrize("name", LAYERS)
def test_the_settings_of_revisiting(name):
    for cell in cells(name):
        train, task, model = (cell.template[part] for part in ("train", "task", "model"))
        pairs, batch_size = LENGTHS[task["seq_len"]]
        steps_per_epoch = math.ceil(100_000 / batch_size)
        assert train["batch_size"] == batch_size
        assert train["steps"] == 100 * steps_per_epoch
        assert train["eval_every"] == steps_per_epoch
        assert train["train_examples"] == 100_000
        assert train["test_examples"] == 3000
        assert (train["weight_decay"], train["warmup"]) == (0.1, 0.1)
        assert task["num_kv_pairs"] == (64 if name == "revisiting-figure4" else pairs)
        assert (task["vocab_size"], task["slot_order"]) == (8192, "drawn")
        assert model["mlp"] == "gelu"
        assert train["decay_all"]
        assert model["init"]["writes_per_layer"] == 2
        assert model["positions"] in ("auto", "learned")
        assert cell.seeds == (42, 123, 777)
    assert {cell.n_layers for cell in cells(name)} == LAYERS[name]
    widths = WIDTHS[:3] if name == "revisiting-figure7" else WIDTHS
    assert sorted({cell.d_model for cell in cells(name)}) == widths


def test_zoology_is_offered_by_its_code_and_by_its_text():
    for scale, warmup, unit, mlps in (
        ("paper", 0.0, "epoch", {"identity", None}),
        ("paper-text", 0.1, "step", {"gelu"}),
    ):
        (study,) = REPRODUCTIONS["zoology-figure2"].studies(scale)
        cells = study.cells()
        assert len(cells) == 7 * 4 * 4
        for cell in cells:
            train = cell.template["train"]
            assert (train["warmup"], train["schedule_unit"]) == (warmup, unit)
            assert (train["weight_decay"], train["decay_all"]) == (0.1, True)
            assert cell.n_layers == 2
        assert {model.mlp for model in study.models} == mlps
    with pytest.raises(UserError, match="unknown scale 'paper-text'"):
        REPRODUCTIONS["revisiting-figure1"].check("paper-text")


UNIFORM = 1 / math.sqrt(3)
"""Standard deviation of a uniform start, as a share of its bound."""


@pytest.mark.parametrize(
    ("name", "output", "std"),
    [
        ("attention", "out_proj", 0.02 / 2),
        ("hyena", "out_proj", 0.02 / 2),
        ("h3", "out_proj", 0.02),
        ("base-conv", "projection", 0.02),
        ("based", "out_proj", 0.02),
        ("rwkv4", "out_proj", UNIFORM / math.sqrt(64)),
        ("mamba", "out_proj", UNIFORM / math.sqrt(128) / math.sqrt(2)),
    ],
)
def test_the_models_of_zoology_start_as_in_its_code(name, output, std):
    (study,) = REPRODUCTIONS["zoology-figure2"].studies("paper")
    config = next(
        model
        for model in study.models
        if model.label.partition("(")[0] == name and model.d_model == 64
    )
    model = config.build(MQAR(seq_len=64, num_kv_pairs=4))
    last = model.layers[-1]
    assert getattr(last.mixer, output).weight.std().item() == pytest.approx(std, rel=0.05)
    is_mamba = name == "mamba"
    assert (type(last.norm).__name__ == "RMSNorm") is is_mamba
    assert type(model.norm).__name__ == "LayerNorm"
    assert config.dropout == (0.0 if is_mamba else 0.1)
    assert (model.position_embedding is not None) is (name == "attention")


def test_rates_are_fine_and_among_them_are_those_of_zoology():
    fine, coarse = REPRODUCTIONS["revisiting-figure2"].studies("paper")
    assert set(coarse.search.rates) <= set(fine.search.rates)
    ratios = [b / a for a, b in zip(fine.search.rates, fine.search.rates[1:], strict=False)]
    assert ratios == pytest.approx([10 ** (1 / 6)] * 18, rel=0.01)


@pytest.mark.parametrize(
    ("part", "whole"),
    [
        ("revisiting-figure1", "revisiting-figure2"),
        ("revisiting-figure6", "revisiting-figure3"),
    ],
)
def test_what_several_entries_need_is_run_once(part, whole):
    assert keys(part) < keys(whole)


@pytest.mark.parametrize("name", REPRODUCTIONS.names())
def test_everything_has_a_source_and_says_how_it_differs(name):
    entry = REPRODUCTIONS[name]
    assert "arXiv" in entry.paper
    assert entry.differs.startswith("Here: ")
    assert " Paper: " in entry.differs
    assert len({claim.name for claim in entry.claims}) == len(entry.claims) > 0
    for claim in entry.claims:
        assert any(word in claim.source for word in ("figure", "table", "section"))
    for number in entry.published:
        assert number.source == entry.place
        assert 0 <= number.value <= 1


def test_printed_numbers_stand_beside_cells():
    for name in REPRODUCTIONS:
        entry = REPRODUCTIONS[name]
        for number in entry.published:
            found = [
                cell
                for study in entry.studies("laptop")
                for cell in study.cells()
                if CellResults(cell, study.name).fits(number.where)
            ]
            assert len(found) == 1, number
