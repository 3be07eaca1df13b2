"""The report: its subject, its contents, and what a check does not modify."""

import json

import misfits
import pytest
import sound
import steppers
import torch
from torch import nn

import recollect as rc
from recollect.mixers.catalogue import MIXERS
from recollect.referee.check import CHECKS, contexts, judge, measure

pytestmark = pytest.mark.slow


def check(mixer, **changes):
    return rc.check(mixer, **({"d_model": 8, "max_len": 64} | changes))


def test_a_report_of_one_of_ours():
    report = check("attention")
    assert report.ok
    assert list(report.verdicts) == list(CHECKS)
    assert {verdict.status for verdict in report.verdicts.values()} == {"pass"}
    assert "recipe's" in report.initialisation
    assert report.contexts == ("with rotated queries and keys",)
    text = str(report)
    for part in (*CHECKS, "attention, d_model 8", "linear", "288", "declared by ops"):
        assert part in text
    assert text.strip().endswith("no check failed")
    assert repr(report) == text


def test_a_failed_report_says_what_failed():
    report = check(misfits.Idle)
    assert not report.ok
    assert "failed: gradients" in str(report)
    assert "the gradient of idle is always zero" in str(report)
    assert "matrix products only" in str(report)


def test_a_report_as_json():
    report = check(misfits.NotFinite)
    stored = json.loads(json.dumps(report.to_json(), allow_nan=False))
    assert stored["ok"] is False
    assert stored["mixer"] == "NotFinite"
    assert stored["verdicts"]["shape and type"]["facts"] == {"output": 5}
    assert stored["verdicts"]["step form"]["status"] == "not offered"
    assert stored["measured"][0]["parameters"] == 72


def test_options_are_part_of_what_is_judged():
    report = check(rc.mixer(sound.WithOption, width=3))
    assert report.ok
    assert report.mixer == "WithOption(width=3)"


def test_a_layer_pattern_is_judged_as_a_whole():
    report = check([sound.Average, rc.mixer("attention", window=5)])
    assert report.ok, report
    assert report.mixer == "Average+attention(window=5)"
    assert report.measured[0].state.law == "saturating at 4 tokens"
    both = [check("attention").measured[0], check(sound.Average).measured[0]]
    norms = 2 * 2 * 8
    assert report.measured[0].parameters == sum(each.parameters for each in both) + norms


def test_a_named_pattern_is_shown_with_its_depth_and_window():
    report = check("based-window")
    assert (report.mixer, len(report.layers), report.window) == ("based-window", 5, 64)
    assert "based-window, d_model 8, window 64" in str(report)
    assert "5 layers: base-conv(kernel_size=3), taylor-linear-attention, sliding" in str(report)


def test_a_pattern_offers_steps_if_all_its_mixers_do():
    report = check([sound.Average, sound.WithoutStep])
    assert report.ok
    assert report.verdicts["step form"].status == "not offered"
    assert report.measured[0].state is None


def test_a_pattern_with_a_fault_fails():
    report = check([sound.Average, steppers.ForgetfulStep])
    assert report.verdicts["step form"].status == "fail"


class FaultyAbove(nn.Module):
    """Sound in the first layer only."""

    def __init__(self, d_model, layer_idx):
        super().__init__()
        self.average = sound.Average(d_model)
        self.layer_idx = layer_idx

    def forward(self, x):
        return self.average(x) + (x.flip(1) if self.layer_idx else 0)


def test_every_layer_is_judged():
    report = check(FaultyAbove)
    assert report.contexts == ("as layer 1",)
    assert report.verdicts["causality"].evidence.startswith("as layer 1: input 1 changes output 0")
    assert [measured.layer for measured in report.measured] == [0, 1]


class FaultyTurned(FaultyAbove):
    """Sound without rotation only."""

    def __init__(self, d_model, rope=False):
        super().__init__(d_model, int(rope))


def test_rotation_is_judged():
    verdict = check(FaultyTurned).verdicts["causality"]
    assert verdict.evidence.startswith("with rotated queries and keys: ")


def test_the_random_generator_stays_as_it_was():
    torch.manual_seed(7)
    expected = torch.rand(3)
    torch.manual_seed(7)
    check(sound.Dropout)
    assert torch.equal(torch.rand(3), expected)


def test_the_generators_of_all_devices_stay_as_they_were(monkeypatch):
    kept, restored = [], []
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "get_rng_state", lambda i: kept.append(i) or i)
    monkeypatch.setattr(torch.cuda, "set_rng_state", lambda _, i: restored.append(i))
    contexts(sound.Dropout, d_model=8)
    assert not kept
    for judged in (check, measure):
        judged(sound.Dropout, d_model=8)
        assert kept == restored == [0, 1]
        kept.clear(), restored.clear()


def test_a_device_may_be_numbered():
    assert check(sound.Average, device="cpu:0").ok
    assert measure(sound.Average, d_model=8, device="cpu:0")[0].state is not None


def test_the_same_report_twice():
    assert check("hyena").to_json() == check("hyena").to_json()


def test_what_is_no_mixer_is_the_user_s_error():
    for mixer in ("attentoin", "nowhere:Mixer", []):
        with pytest.raises(rc.UserError):
            check(mixer)
    for mixer, near in {"attentoin": "attention", "torch.nn:Gruu": "GRU"}.items():
        with pytest.raises(rc.UserError, match=f"did you mean '{near}'"):
            check(mixer)


def test_a_size_that_cannot_be_is_the_user_s_error():
    with pytest.raises(rc.UserError, match="max_len=63: expected at least 64"):
        check("attention", max_len=63)
    with pytest.raises(rc.UserError, match="divisor of d_model=8"):
        check(rc.mixer("attention", n_heads=3))


def test_a_width_that_cannot_be_rotated_is_judged_without_rotation():
    report = check("attention", d_model=15)
    assert report.ok
    assert report.contexts == ()
    assert "note: not judged with rotated queries and keys: " in str(report)
    assert "even" in report.remarks[0]


def test_time_is_measured_in_turns_with_attention():
    assert check("attention").measured[0].speed is None
    speed = check("attention", speed=True).measured[0].speed
    assert speed.training > 0
    assert speed.decoding > 0
    assert check(sound.WithoutStep, speed=True).measured[0].speed.decoding is None


def test_progress_is_reported():
    events = []
    check(misfits.Halved, progress=lambda *event: events.append(event))
    assert events == [("Halved", done, len(CHECKS) + 1) for done in range(len(CHECKS) + 1)]


@pytest.mark.parametrize("name", ["causality", "gradients"])
def test_one_check_alone(name):
    (plain,) = contexts(misfits.Idle, d_model=8, max_len=64)
    assert judge(name, plain).status == ("fail" if name == "gradients" else "pass")


def test_every_mixer_of_the_catalogue_has_a_context():
    for name in MIXERS:
        assert contexts(name, d_model=64)[0].context == ""
