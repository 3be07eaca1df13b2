"""Every claim judged on made-up results: reproduced where they bear it out, contradicted or
undecided where they do not, not run where they are missing."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import pytest
from made_results import found
from made_store import STUDIED, fill

from recollect.papers.reproduction import REPRODUCTIONS, outcome
from recollect.papers.results import PaperResults
from recollect.papers.scale import SCALES
from recollect.studies.narrow import narrow
from recollect.studies.store import Store

pytestmark = pytest.mark.slow

Settings = Mapping[str, Any]


def hump(rate: float, decades: float, top: float = 0.99, bottom: float = 0.05) -> float:
    """Good within so many decades around 1e-2."""
    beyond = max(0.0, abs(math.log10(rate) + 2) - decades / 2)
    return max(bottom, top - 3 * beyond)


def steady(s: Settings, spent: float) -> float:
    return 1 + 3 * math.exp(-spent / 0.4)


def flat(s: Settings, spent: float) -> float:
    return 4 - spent / 2


def sudden(s: Settings, spent: float) -> float:
    return 4.0 if spent < 0.5 else 1.0


def little(s: Settings, spent: float) -> float:
    """A drop as sudden, of a loss that hardly falls."""
    return 4.0 if spent < 0.5 else 3.5


def zoology(s: Settings, rate: float) -> float:
    if s["mixer.name"] == "attention":
        return 0.99
    return 0.95 if s["model.d_model"] >= s["task.seq_len"] else 0.3


def windows(s: Settings, rate: float) -> float:
    widths = {"attention": 2.0, "delta-net": 3.5, "mamba2": 1.0, "mamba": 0.3, "hyena": 0.3}
    return hump(rate, widths[s["mixer.name"]])


def unsure(s: Settings, rate: float) -> float:
    """As `windows`, but at most rates Hyena works or not by the seeds that one draws."""
    return max(windows(s, rate), 0.8908 if s["mixer.name"] == "hyena" else 0.0)


def tuned(s: Settings, rate: float) -> float:
    if s["mixer.name"] == "attention":
        return 0.99
    if s["mixer.name"] == "hyena":
        return 0.4
    return 0.97 if rate > 1.5e-2 else 0.6


def one_layer(s: Settings, rate: float) -> float:
    return 0.26 if s["mixer.name"] == "attention" else 0.2 + 0.75 * s["model.d_model"] / 64


def width_or_depth(s: Settings, rate: float) -> float:
    deep, wide = s["model.n_layers"] > 1, s["model.d_model"] > 32
    if s["mixer.name"] == "attention":
        return 0.99 if deep else 0.2
    return (0.9 if wide else 0.2) + 0.02 * deep


def copying(s: Settings, rate: float) -> float:
    if s["mixer.name"] == "attention":
        return hump(rate, 2.0, bottom=0.2)
    wide = s["model.d_model"] > 44
    return hump(rate, 0.6, top=0.99 if wide else 0.6, bottom=0.2)


def deep_too(s: Settings, rate: float) -> float:
    """As `copying`, but the deeper Mamba copies half of the strings and more."""
    return hump(rate, 0.6, top=0.8) if s["model.n_layers"] > 2 else copying(s, rate)


def learning(s: Settings, rate: float) -> float:
    return {"attention": 1 / s["task.num_kv_pairs"], "hyena": 0.8, "mamba": 0.99}[s["mixer.name"]]


def learning_loss(s: Settings, spent: float) -> float:
    return (steady if s["mixer.name"] == "hyena" else sudden)(s, spent)


def ablated(s: Settings, rate: float) -> float:
    if s["mixer.name"] == "attention":
        return 0.99 if s["mixer.qkv_conv"] or s["model.short_conv"] else 0.25
    if s["mixer.name"] == "mamba" and s["mixer.d_conv"] == 0 and s["model.n_layers"] == 1:
        return 0.25
    return 0.98


def all_solve(s: Settings, rate: float) -> float:
    return 0.99


def none_solves(s: Settings, rate: float) -> float:
    return 0.05


def all_alike(s: Settings, rate: float) -> float:
    return hump(rate, 1.0)


def attention_narrowest(s: Settings, rate: float) -> float:
    return hump(rate, 0.9 if s["mixer.name"] == "attention" else 2.0, bottom=0.2)


Made = tuple[Callable[[Settings, float], float], Callable[[Settings, float], float]]

BORNE_OUT: dict[str, Made] = {
    "zoology-figure2": (zoology, steady),
    "revisiting-figure1": (windows, steady),
    "revisiting-figure2": (tuned, steady),
    "revisiting-figure3": (one_layer, steady),
    "revisiting-figure4": (width_or_depth, steady),
    "revisiting-figure5": (copying, steady),
    "revisiting-figure6": (learning, learning_loss),
    "revisiting-figure7": (windows, steady),
    "revisiting-table1": (copying, steady),
    "revisiting-table2": (ablated, steady),
}
"""What the papers would have measured."""


def only(mixer: str, value: float, otherwise: Callable[[Settings, float], float]) -> Any:
    """One mixer at a fixed accuracy."""
    return lambda s, rate: value if s["mixer.name"] == mixer else otherwise(s, rate)


def stuck(s: Settings, rate: float) -> float:
    """As `ablated`, but no Mamba learns without its convolution, however deep."""
    return 0.25 if s["mixer.name"] == "mamba" and s["mixer.d_conv"] == 0 else ablated(s, rate)


def wide_alone(s: Settings, rate: float) -> float:
    """Convolutions that solve the task at a quarter of the length already."""
    return 0.95 if 4 * s["model.d_model"] >= s["task.seq_len"] else 0.3


def by_parameters(s: Settings, rate: float) -> float:
    return s["model.d_model"] ** 2 * s["model.n_layers"] / 35_000


def hardly_by_anything(s: Settings, rate: float) -> float:
    return 0.6 + 0.01 * (s["model.n_layers"] - s["model.d_model"] / 64)


C, U = "contradicted", "undecided"
OTHERWISE: dict[str, list[tuple[Made, dict[str, str]]]] = {
    "zoology-figure2": [
        (
            (none_solves, steady),
            {"attention-solves": U, "convolutions-need-width": U, "needed-width-grows": U},
        ),
        (
            (all_solve, steady),
            {
                "attention-solves": "reproduced",
                "convolutions-need-width": C,
                "needed-width-grows": C,
            },
        ),
        ((wide_alone, steady), {"convolutions-need-width": C}),
    ],
    "revisiting-figure1": [
        ((all_alike, steady), {"mamba-window": U, "hyena-window": U}),
        ((attention_narrowest, steady), {"mamba-window": C, "hyena-window": C}),
        ((only("mamba", 0.3, windows), steady), {"mamba-window": U, "hyena-window": "reproduced"}),
        ((only("attention", 0.3, windows), steady), {"mamba-window": U, "hyena-window": U}),
        ((unsure, steady), {"hyena-window": U}),
    ],
    "revisiting-figure2": [
        (
            (none_solves, steady),
            {
                "attention-solves": U,
                "mamba-far-above-its-width": U,
                "hyena-needs-width": U,
                "four-rates-miss-mamba": U,
            },
        ),
        ((all_solve, steady), {"hyena-needs-width": C, "four-rates-miss-mamba": C}),
        ((only("hyena", 0.85, tuned), steady), {"hyena-needs-width": C}),
        ((only("mamba", 0.05, tuned), steady), {"mamba-far-above-its-width": C}),
    ],
    "revisiting-figure3": [
        ((all_solve, steady), {"attention-recalls-one-pair": C}),
        ((none_solves, steady), {"attention-recalls-one-pair": U}),
        ((lambda *_: 0.6, steady), {"recurrent-models-improve-with-width": C}),
    ],
    "revisiting-figure4": [
        (
            (all_solve, steady),
            {"recurrent-models-gain-from-width": U, "attention-gains-from-depth": U},
        ),
        (
            (lambda s, _: s["model.d_model"] / 140, steady),
            {"attention-gains-from-depth": C, "parameters-explain-neither": C},
        ),
        (
            (lambda s, _: 0.6 + 0.3 * s["model.n_layers"] - 0.3, steady),
            {"recurrent-models-gain-from-width": C},
        ),
        ((by_parameters, steady), {"parameters-explain-neither": C}),
        ((hardly_by_anything, steady), {"parameters-explain-neither": C}),
    ],
    "revisiting-figure5": [
        ((only("attention", 0.3, copying), steady), {"attention-is-robust": U}),
        (
            (attention_narrowest, steady),
            {"attention-is-robust": C, "mamba-window": C},
        ),
    ],
    "revisiting-figure6": [
        ((all_solve, learning_loss), {"attention-drops-in-vain": C}),
        (
            (learning, steady),
            {
                "attention-drops-in-vain": C,
                "hyena-is-smooth": "reproduced",
                "mamba-drops-and-solves": C,
            },
        ),
        ((learning, sudden), {"hyena-is-smooth": C}),
        ((learning, flat), {"hyena-is-smooth": C}),
        ((none_solves, learning_loss), {"mamba-drops-and-solves": U}),
        ((learning, little), {"mamba-drops-and-solves": U}),
    ],
    "revisiting-figure7": [
        ((all_alike, steady), {"delta-net-window": U, "mamba2-window": U}),
        ((only("delta-net", 0.3, windows), steady), {"delta-net-window": U}),
        ((only("attention", 0.3, windows), steady), {"delta-net-window": U}),
        ((only("mamba", 0.3, windows), steady), {"mamba2-window": U}),
        (
            (
                lambda s, r: hump(r, {"attention": 2.0, "mamba2": 1.7}.get(s["mixer.name"], 0.5)),
                steady,
            ),
            {"delta-net-window": C, "mamba2-window": C},
        ),
    ],
    "revisiting-table1": [
        ((none_solves, steady), {"attention-copies": U, "width-not-depth": U}),
        ((all_solve, steady), {"width-not-depth": C}),
        ((only("attention", 0.05, copying), steady), {"attention-copies": C}),
        ((deep_too, steady), {"width-not-depth": C}),
    ],
    "revisiting-table2": [
        (
            (all_solve, steady),
            {"attention-recalls-one-pair": C, "mamba-needs-its-convolution": C},
        ),
        (
            (none_solves, steady),
            {
                "convolution-before-attention": U,
                "convolution-on-qkv": U,
                "mamba-needs-its-convolution": U,
                "mamba-without-gate": U,
                "s6-and-mlp": U,
                "two-layers-without-convolution": U,
            },
        ),
        (
            (stuck, steady),
            {"two-layers-without-convolution": C, "mamba-needs-its-convolution": "reproduced"},
        ),
        (
            (lambda s, _: 0.95 if s["model.positions"] == "learned" else 0.5, steady),
            {"positions-change-little": C},
        ),
    ],
}
"""Made-up results on which claims fail, with ten seeds, and the verdicts."""


def test_every_claim_has_its_cases():
    assert set(BORNE_OUT) == set(OTHERWISE) == set(STUDIED)
    for name in STUDIED:
        failing = {
            claim
            for _, verdicts in OTHERWISE[name]
            for claim, verdict in verdicts.items()
            if verdict != "reproduced"
        }
        assert failing == {claim.name for claim in REPRODUCTIONS[name].claims}


@pytest.mark.parametrize("name", BORNE_OUT)
def test_what_the_papers_measured_bears_their_claims_out(name):
    for claim, finding in found(name, *BORNE_OUT[name]).items():
        assert finding.verdict == "reproduced", (claim, finding.evidence, finding.decides)
        assert finding.measured
        for number in finding.measured.values():
            assert number.low <= number.value <= number.high
        assert "5 of the first 5 seeds" in finding.evidence


@pytest.mark.parametrize(
    ("name", "i"), [(name, i) for name in OTHERWISE for i in range(len(OTHERWISE[name]))]
)
def test_other_results_do_not(name, i):
    made, expected = OTHERWISE[name][i]
    findings = found(name, *made)
    assert {claim: findings[claim].verdict for claim in expected} == expected
    for claim, verdict in expected.items():
        assert bool(findings[claim].decides) == (verdict == "undecided")
        assert not findings[claim].more_seeds, "there are ten"


@pytest.mark.parametrize(
    ("name", "scale"),
    [(n, scale) for n in STUDIED for scale in SCALES if not REPRODUCTIONS[n].obstacles(scale)],
)
def test_nothing_is_judged_before_it_is_measured(name, scale, tmp_path):
    with Store(tmp_path / "empty.db") as store:
        for finding in outcome(REPRODUCTIONS[name], scale, store).findings:
            assert finding.verdict == "not run"
            assert finding.evidence.startswith("not finished: ")
            assert not finding.measured


def test_who_solves_it_already_need_not_improve():
    """RWKV-4 has nothing to gain, the others do."""
    findings = found("revisiting-figure3", only("rwkv4", 0.95, one_layer), steady)
    improve = findings["recurrent-models-improve-with-width"]
    assert improve.verdict == "reproduced"
    assert "rwkv4 at 3 sizes, mqar-16x4-v128: nothing to gain, left out" in improve.evidence
    assert not any("rwkv4" in name for name in improve.measured)


def test_widths_below_the_order_of_the_length_must_have_been_tried(tmp_path):
    (study,) = REPRODUCTIONS["zoology-figure2"].studies("laptop")
    with Store(tmp_path / "wide.db") as store:
        fill(store, narrow(study, widths=[64]), zoology)
        results = PaperResults.read(store, [narrow(study, widths=[64])])
    claim = REPRODUCTIONS["zoology-figure2"].claims[1]
    assert claim.name == "convolutions-need-width"
    assert claim.finding(results).verdict == "not run"


def only_short(s: Settings, rate: float) -> float:
    """Convolutions solve the shortest examples at width 256, and longer ones at none."""
    if s["mixer.name"] == "attention":
        return 0.99
    return 0.95 if s["task.seq_len"] == 16 and s["model.d_model"] == 256 else 0.3


def test_a_width_beyond_the_tried_ones_is_at_least_the_next():
    finding = found("zoology-figure2", only_short, steady)["needed-width-grows"]
    assert finding.verdict == "reproduced"
    assert "at least 2" in finding.evidence


def test_a_claim_waits_for_its_last_cell(tmp_path):
    (study,) = REPRODUCTIONS["revisiting-figure3"].studies("laptop")
    with Store(tmp_path / "part.db") as store:
        fill(store, narrow(study, widths=[16, 32]), one_layer)
        part = outcome(REPRODUCTIONS["revisiting-figure3"], "laptop", store)
        assert {finding.verdict for finding in part.findings} == {"not run"}
        assert "d_model 64" in part.findings[0].evidence


def test_results_of_other_settings_do_not_count(tmp_path):
    (study,) = REPRODUCTIONS["revisiting-table1"].studies("laptop")
    other = study.replace(train=study.train.replace(steps=100))
    with Store(tmp_path / "other.db") as store:
        fill(store, other, copying)
        none = outcome(REPRODUCTIONS["revisiting-table1"], "laptop", store)
    assert {finding.verdict for finding in none.findings} == {"not run"}


@pytest.mark.parametrize("name", ["revisiting-figure5", "revisiting-table1"])
def test_what_was_not_published_is_not_run_at_paper_scale(name, tmp_path):
    assert REPRODUCTIONS[name].studies("paper") == ()
    with Store(tmp_path / "empty.db") as store:
        none = outcome(REPRODUCTIONS[name], "paper", store)
    for finding in none.findings:
        assert finding.verdict == "not run"
        assert "not published: number of steps" in finding.evidence
