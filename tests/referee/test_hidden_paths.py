"""Faults on a single path are found: chunks of any size, lengths, float32, autocast, rounding."""

import hidden_paths as hidden
import pytest
import sound

import recollect as rc
from recollect.referee.check import check, contexts, judge

pytestmark = pytest.mark.slow

D = 4


def judged(cls, name, max_len=261):
    return judge(name, contexts(cls, d_model=D, max_len=max_len)[0])


@pytest.mark.parametrize("size", [12, 17, 24, 31, 43, 58, 65, 96, 100, 127, 150, 200, 256])
def test_a_look_ahead_at_the_end_of_chunks_of_any_size_is_found(size):
    verdict = judged(rc.mixer(hidden.ChunkEnd, size=size), "causality")
    assert verdict.status == "fail"
    assert (verdict.facts["input"] % size, verdict.facts["output"] % size) == (0, size - 1)


@pytest.mark.parametrize(
    "where",
    [
        {"multiple": 128},
        {"multiple": 16, "most": 32},
        {"least": 65, "most": 127},
        {"multiple": 256},
    ],
)
def test_a_look_ahead_at_some_lengths_alone_is_found(where):
    assert judged(rc.mixer(hidden.AtLengths, **where), "causality").status == "fail"


@pytest.mark.parametrize(
    ("cls", "name", "where"),
    [
        (hidden.InSingle, "causality", "in float32: input"),
        (hidden.InSingle, "lengths", "in float32: output"),
        (hidden.MixesRowsInSingle, "independent rows", "in float32: when row"),
        (hidden.UnderAutocast, "causality", "under bfloat16 autocast: input"),
        (hidden.InHalf, "causality", "input"),
    ],
)
def test_a_fault_in_one_type_alone_is_found(cls, name, where):
    verdict = judged(cls, name, max_len=70)
    assert verdict.status == "fail"
    assert verdict.evidence.startswith(where)


@pytest.mark.parametrize("cls", [hidden.SoundInHalf, sound.RoundedInside, sound.Dropout])
def test_rounding_is_no_look_ahead(cls):
    verdict = judged(cls, "causality", max_len=100)
    assert verdict.status == "pass", verdict.evidence
    assert verdict.evidence.endswith("also in float32 and under bfloat16 autocast")


def test_room_that_is_not_declared_is_judged_as_far_as_it_goes():
    verdict = judged(hidden.RoomFor128, "lengths")
    assert verdict.status == "fail"
    assert "judge it up to 128 (--max-len 128)" in verdict.evidence
    report = check(hidden.RoomFor128, d_model=D, max_len=128)
    assert report.ok, report
    assert "longer sequences: it raises RuntimeError" in report.verdicts["lengths"].evidence


@pytest.mark.parametrize(
    ("cls", "name", "status", "evidence"),
    [
        (hidden.OverwritesTokens, "shape and type", "fail", "overwrites its token ids"),
        (
            hidden.SparseGradient,
            "gradients",
            "fail",
            "sparse gradient, which AdamW does not support",
        ),
        (hidden.StepKeepsLength, "step form", "fail", "return y_t[:, 0]"),
        (hidden.StepAlone, "step form", "not offered", "has step, but no initial_state"),
        (hidden.NotFiniteAt100, "shape and type", "fail", "not finite"),
        (hidden.NotFiniteAt100, "causality", "fail", "output 0 is not finite (100 positions"),
    ],
)
def test_a_fault_is_named(cls, name, status, evidence):
    verdict = judged(cls, name, max_len=128)
    assert verdict.status == status
    assert evidence in verdict.evidence


@pytest.mark.parametrize("cls", [hidden.InNumbers, hidden.InBytes])
def test_a_state_outside_of_tensors_is_measured(cls):
    report = check(cls, d_model=D, max_len=64)
    assert report.ok, report
    state = report.measured[0].state
    assert (state.bytes[1], state.numbers[1], state.counters) == (8 * D, D, 1)
    assert "1 plain number that counts positions" in " ".join(str(report).split())
