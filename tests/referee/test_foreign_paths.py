"""Every path of training is judged: selected positions, other lengths, repeated calls."""

import re

import foreign_paths as paths
import lookahead
import misfits
import pytest
import sound
from judging import D, judged

from recollect.referee.check import check

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("cls", [paths.RightPositions, paths.RightWithDropout, "sliding-window"])
def test_outputs_at_some_positions_may_be_right(cls):
    verdict = judged(cls, "output positions")
    assert verdict.status == "pass", verdict.evidence


def test_a_mixer_without_that_path_has_none_to_judge():
    assert judged(sound.Average, "output positions").status == "not offered"
    assert judged([sound.Average, "attention"], "output positions").status == "pass"


@pytest.mark.parametrize(
    ("cls", "evidence"),
    [
        (paths.OffByOne, r"output 1 of \d+ differs from the full form"),
        (paths.LooksAheadThere, r"with output_positions, inputs from 1 on change output 0"),
        (paths.LooksAheadInTraining, r"inputs from 1 on change .*training mode"),
        (paths.InOrderOnly, r"unordered"),
        (paths.PositionsOfTheFirstRow, r"one position, different in each row"),
        (paths.DetachedThere, r"gradient of its input differs"),
        (paths.WithoutTheLast, r"1 output positions raises IndexError"),
    ],
)
def test_a_fault_of_that_path_is_found(cls, evidence):
    report = check(cls, d_model=D, max_len=64)
    failing = {name for name, verdict in report.verdicts.items() if verdict.status == "fail"}
    assert failing == {"output positions"}
    found = report.verdicts["output positions"].evidence
    assert re.search(evidence, found), found


@pytest.mark.parametrize("cls", [paths.GrowingTable, paths.Statistics, sound.Dropout, "hyena"])
def test_a_module_may_be_called_again(cls):
    verdict = judged(cls, "repeated calls")
    assert verdict.status == "pass", verdict.evidence


@pytest.mark.parametrize("cls", [paths.SpectralNorm, paths.Statistics])
def test_buffers_that_training_changes_are_no_fault(cls):
    report = check(cls, d_model=D, max_len=70)
    assert report.ok, report
    assert {verdict.status for verdict in report.verdicts.values()} == {"pass", "not offered"}


@pytest.mark.parametrize(
    ("cls", "evidence"),
    [
        (paths.StaleTable, r"70 positions after 2, .* differs from that of a fresh module"),
        (paths.StaleWeights, r"after its weights change"),
        (paths.CarriesOn, r"70 positions after 2, "),
        (paths.HiddenStatistics, r"a pass in training mode changes output \d+ in evaluation"),
    ],
)
def test_what_is_kept_from_call_to_call_is_found(cls, evidence):
    verdict = judged(cls, "repeated calls")
    assert verdict.status == "fail"
    assert re.search(evidence, verdict.evidence), verdict.evidence


def test_without_determinism_calls_cannot_be_compared():
    assert judged(misfits.OtherDice, "repeated calls").status == "not measured"


@pytest.mark.parametrize(
    ("cls", "evidence"),
    [
        (paths.OwnError, "above max_len it raises TooLong; ValueError would be clearer"),
        (misfits.WrongError, "above max_len it raises RuntimeError; ValueError would be clearer"),
        (sound.GoodLimit, "above max_len it raises ValueError"),
        (misfits.SilentLimit, "also run, but not to compare: its weights depend on max_len"),
    ],
)
def test_a_mixer_may_refuse_or_take_more_than_it_was_built_for(cls, evidence):
    report = check(cls, d_model=D, max_len=70)
    assert report.ok, report
    assert evidence in report.verdicts["lengths"].evidence


@pytest.mark.parametrize(
    ("cls", "evidence"),
    [
        (paths.RoomForTwice, r"built for 8 positions, the mixer accepts 32, .* a ValueError"),
        (
            misfits.ForgottenPast,
            r"built for 70 .* accepts 71, but output 70 differs from that of a",
        ),
    ],
)
def test_more_than_it_was_built_for_may_not_come_out_wrong(cls, evidence):
    report = check(cls, d_model=D, max_len=70)
    failing = {name for name, verdict in report.verdicts.items() if verdict.status == "fail"}
    assert failing == {"lengths"}
    found = report.verdicts["lengths"].evidence
    assert re.search(evidence, found), found


def test_convolutions_that_wrap_are_found():
    for cls in (paths.OneShort, lookahead.LongLeak):
        assert judged(cls, "causality", max_len=100).status == "fail"
