"""A mixer is judged on the path of training, on fresh copies, and by the weights it trains."""

import re

import foreign_training as foreign
import pytest
import sound
from judging import D, judged

from recollect.referee.check import check, contexts
from recollect.referee.remarks import remarks

pytestmark = pytest.mark.slow


@pytest.mark.parametrize(
    ("cls", "name", "evidence"),
    [
        (foreign.LeaksWithGradients, "causality", r"input 1 changes output 0 .*training mode"),
        (foreign.MixesRowsWithGradients, "independent rows", r"when row 0 changes.*training mode"),
        (foreign.ShorterWithGradients, "lengths", r"output 0 .* first 1 positions .*training mode"),
        (foreign.SetByTheFirst, "causality", r"input 1 changes output 0 .*evaluation mode"),
        (foreign.SetByTheFirst, "independent rows", r"when row 0 changes.*evaluation mode"),
        (foreign.SetInTraining, "causality", r"input 1 changes output 0 .*training mode"),
        (foreign.SetInTraining, "independent rows", r"when row 0 changes.*training mode"),
        (foreign.SetAndNotCopied, "causality", r"input 1 changes output 0 .*evaluation mode"),
        (foreign.PlainList, "gradients", r"depend on 3 tensors .* nn\.ModuleList"),
        (foreign.PlainTensor, "gradients", r"depend on 1 tensor of weights"),
        (foreign.Detached, "gradients", r"no gradient reaches the input"),
        (foreign.Replaced, "gradients", r"replaces scale by another tensor"),
        (foreign.ExitsAtBuilding, "shape and type", r"building it .* calls exit\(\)"),
        (foreign.ExitsInForward, "shape and type", r"forward at length 1 .* calls exit\(3\)"),
        (foreign.ExitsInBackward, "gradients", r"the backward pass raises SystemExit"),
    ],
)
def test_a_fault_on_the_path_of_training_is_found(cls, name, evidence):
    verdict = judged(cls, name)
    assert verdict.status == "fail"
    assert re.search(evidence, verdict.evidence), verdict.evidence


@pytest.mark.filterwarnings("ignore:None of the inputs have requires_grad")
@pytest.mark.parametrize(
    "cls",
    [
        foreign.Reentrant,
        foreign.SingleWithoutGradients,
        foreign.SingleWithGradients,
        foreign.StartsAnew,
        foreign.OtherWindow,
    ],
)
def test_what_another_path_allows_is_no_fault(cls):
    report = check(cls, d_model=D, max_len=64)
    assert report.ok, report


@pytest.mark.parametrize("cls", [foreign.SingleWithoutGradients, foreign.SingleWithGradients])
def test_either_path_may_need_single_precision(cls):
    assert "float32" in str(contexts(cls, d_model=D, max_len=64)[0].precision)


def test_a_state_in_single_precision_is_no_fault():
    verdict = judged(foreign.SingleState, "step form")
    assert verdict.status == "pass"
    assert "in float64 it rounds like float32" in verdict.evidence


@pytest.mark.parametrize(
    ("cls", "noted"),
    [
        (foreign.OtherWindow, True),
        (foreign.ShorterWithGradients, True),
        (sound.Dropout, False),
        (sound.Average, False),
    ],
)
def test_evaluation_that_differs_from_training_is_noted(cls, noted):
    report = check(cls, d_model=D, max_len=64)
    assert bool(report.remarks) is noted
    assert ("note: in evaluation mode, output" in " ".join(str(report).split())) is noted


def test_a_state_of_views_says_what_it_uses():
    report = check(foreign.ViewsAsState, d_model=D, max_len=64)
    state = report.measured[0].state
    assert (state.bytes[1], state.numbers[1], state.used[1]) == (32, 8, 16)
    assert "32 bytes (8 numbers, of which 16 bytes are used" in " ".join(str(report).split())


def test_the_user_may_interrupt():
    with pytest.raises(KeyboardInterrupt):
        judged(foreign.Interrupted, "shape and type")


@pytest.mark.parametrize(
    ("cls", "remarked"),
    [(foreign.OwnBackward, False), (foreign.WrongBackward, True)],
)
def test_a_gradient_that_is_not_the_slope_is_remarked(cls, remarked):
    (subject,) = contexts(cls, d_model=D, max_len=64)
    found = [each for each in remarks(subject) if "custom backward pass is wrong" in each]
    assert len(found) == remarked
