"""Noise keeps frozen parameters and domains; the reason why a mixer does not run is reported."""

import re

import foreign_forms as forms
import pytest
import sound
import torch

from recollect.referee.check import check, contexts, judge
from recollect.referee.noise import choose_noise

pytestmark = pytest.mark.slow

D = 8


def report_on(cls, d_model=D, max_len=70):
    return check(cls, d_model=d_model, max_len=max_len)


def judged(cls, name, max_len=70):
    return judge(name, contexts(cls, d_model=D, max_len=max_len)[0])


def failing(report):
    return {name for name, verdict in report.verdicts.items() if verdict.status == "fail"}


@pytest.mark.parametrize(
    ("cls", "max_len", "noise"),
    [
        (sound.Average, 70, "noise of 0.1 on trained parameters"),
        (forms.SmallVariance, 70, "noise of 0.01 on trained parameters: with 0.1, outputs are not"),
        (forms.SlowDecay, 261, "noise of 0.01 on trained parameters: with 0.1, outputs reach"),
        (forms.FrozenMask, 70, "noise of 0.1 on trained"),
        (forms.FrozenOrder, 70, "noise of 0.1 on trained"),
    ],
)
def test_noise_stays_where_parameters_may_be(cls, max_len, noise):
    report = report_on(cls, max_len=max_len)
    assert report.ok, report
    assert report.noise.startswith(noise)
    assert f"with {noise.split(':')[0]}" in str(report)


def test_a_mixer_that_no_noise_leaves_in_its_domain_is_judged_without():
    report = report_on(forms.LogOfOne)
    assert report.noise.startswith("no noise on trained parameters: with 0.001, ")
    assert "moves a parameter out of its domain" in report.noise
    assert failing(report) == {"gradients"}  # infinite where it starts, which is true


def test_a_mixer_that_refuses_noise_is_judged_without():
    report = report_on(forms.RefusesOutside)
    assert re.search(r"^no noise .* with 0\.001, .* scale must be at most 1: noise", report.noise)
    assert report.ok, report


def test_noise_is_not_blamed_for_what_is_so_without_it():
    x = torch.ones(1, 2, 3)
    assert choose_noise(lambda _: x * torch.nan, x).level == 0.1
    assert choose_noise(lambda level: x * (1 if level < 0.1 else 1e4), x).level == 0.01
    assert choose_noise(lambda level: x / (level == 0), x).level == 0
    assert choose_noise(lambda level: x * level, x).level == 0.1


@pytest.mark.parametrize(
    ("cls", "name", "evidence"),
    [
        (forms.Uninitialised, "determinism", r"^not initialised: decay; torch.empty"),
        (forms.UninitialisedBuffer, "determinism", r"output \d+ .* differs in a second copy"),
        (forms.MadeLate, "gradients", r"first call creates parameters, .*: late;"),
        (forms.ColumnsFirst, "independent rows", r"seems to read \(length, batch, d_model\)"),
    ],
)
def test_a_fault_is_named_and_nothing_else_is_blamed(cls, name, evidence):
    report = report_on(cls)
    assert failing(report) == {name}
    found = report.verdicts[name].evidence
    assert re.search(evidence, found), found


def test_the_layout_of_a_module_that_returns_several_values_is_named():
    evidence = judged(forms.ColumnsFirstOfSeveral, "independent rows").evidence
    assert "seems to read (length, batch, d_model)" in evidence


def test_memory_that_is_written_before_it_is_read_is_sound():
    assert judged(forms.UnreadBuffer, "determinism").status == "pass"


@pytest.mark.parametrize(
    ("cls", "evidence"),
    [
        (forms.Lazy, r"lazy parameters \(lazy.weight, lazy.bias\): they have no shape"),
        (forms.HalfWeights, r"raises RuntimeError: .* it has weights in float16"),
        (forms.HalfOnly, r"no kernel for this type; it runs in bfloat16"),
        (forms.OnGpu, r"expected a CUDA tensor; it seems to need a GPU"),
        (forms.NeedsWeights, r"forward requires weights: set a value, .*forward.weights=VALUE"),
        (forms.OtherWidth, r"no argument .* is known to be the width: .*NAME, one of .*size"),
    ],
)
def test_why_it_does_not_run(cls, evidence):
    report = report_on(cls)
    assert failing(report) == {"shape and type"}
    found = report.verdicts["shape and type"].evidence
    assert re.search(evidence, found), found


def test_what_is_adapted_is_said():
    report = report_on(forms.OtherForm, d_model=16)
    assert report.ok, report
    assert "dim gets d_model; forward gets attention_mask=None" in report.remarks[0]
    assert "forward returns 2 values: the first is the output" in report.remarks[1]


def test_half_precision_inside_is_noticed():
    report = report_on(forms.HalfInside, d_model=16)
    assert report.ok, report
    assert "rounds like half precision" in report.precision
    assert {"causality", "lengths"} <= failing(report_on(forms.HalfLeak, d_model=16))


def test_rounding_by_the_largest_output_is_no_look_ahead():
    report = report_on(forms.GrowingInSingle, max_len=100)
    assert report.ok, report
    assert "up to 5e-07 of the largest output counts as rounding" in report.precision


def test_a_check_that_breaks_leaves_the_others(monkeypatch):
    def broken(_):
        raise ZeroDivisionError("one by none")

    monkeypatch.setitem(check.__globals__["CHECKS"], "gradients", broken)
    report = report_on(sound.Average)
    assert report.ok
    assert report.verdicts["gradients"].status == "not measured"
    assert "ZeroDivisionError: one by none" in report.verdicts["gradients"].evidence
    assert report.verdicts["determinism"].status == "pass"


def test_whose_initialisation_it_has_is_said():
    assert "its own; Init(foreign='reset')" in report_on(sound.Average).initialisation
    mixed = report_on([sound.Average, "attention"])
    assert mixed.initialisation.startswith("Average: their own, others: the recipe's")
