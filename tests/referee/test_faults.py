"""Every planted fault fails the checks it concerns and no others, with evidence of its place."""

import re

import lookahead
import misfits
import pytest
import sound
import steppers

from recollect.referee.check import CHECKS, check

pytestmark = pytest.mark.slow

D_MODEL, MAX_LEN = 8, 100


def judged(cls):
    return check(cls, d_model=D_MODEL, max_len=MAX_LEN)


def failing(report):
    return {name for name, verdict in report.verdicts.items() if verdict.status == "fail"}


# a sequence whose beginning depends on its end begins otherwise when it is shorter
LEAK = {"causality", "causal gradients", "lengths"}


@pytest.mark.parametrize(
    ("cls", "fails"),
    [
        (lookahead.SymmetricConv, LEAK),
        (lookahead.WholeSoftmax, LEAK),
        (lookahead.CentredWindow, LEAK),
        (lookahead.GatedByTime, LEAK),
        (lookahead.NormalisedOverTime, LEAK),
        (lookahead.HiddenLeak, LEAK),
        (lookahead.LongLeak, LEAK),
        (lookahead.RoundedLeak, LEAK),
        (lookahead.TokenLeak, {"causality", "lengths"}),
        (lookahead.RareTokenLeak, {"causality", "lengths"}),
        (lookahead.RareLeakOfATable, {"causality", "lengths"}),
        (lookahead.LeakWithoutGradient, {"causality", "lengths"}),
        (lookahead.LeakInTraining, LEAK),
        (lookahead.LeakOfGradients, {"causal gradients"}),
        (lookahead.BatchNorm, {*LEAK, "independent rows"}),
    ],
)
def test_a_look_ahead_is_found_and_placed(cls, fails):
    report = judged(cls)
    assert not report.ok
    assert failing(report) == fails
    for name in fails & {"causality", "causal gradients"}:
        facts, evidence = report.verdicts[name].facts, report.verdicts[name].evidence
        assert facts["output"] < facts["input"] < MAX_LEN
        assert facts["change"] > 1e-3
        assert f"output {facts['output']}" in evidence
        assert (
            f"{facts['changed'] if name == 'causality' else 'input'} {facts['input']}" in evidence
        )


def test_the_evidence_names_the_nearest_leak_of_a_symmetric_convolution():
    facts = judged(lookahead.SymmetricConv).verdicts["causality"].facts
    assert (facts["changed"], facts["input"], facts["output"]) == ("input", 1, 0)


def test_the_evidence_tells_token_ids_from_inputs():
    facts = judged(lookahead.TokenLeak).verdicts["causality"].facts
    assert (facts["changed"], facts["input"] - facts["output"]) == ("token id", 1)


def test_the_evidence_of_a_wrap_names_a_length_at_which_it_wraps():
    verdict = judged(lookahead.LongLeak).verdicts["causality"]
    assert "100 positions" in verdict.evidence
    # of 140 places, input s reaches output s + lag - 140 with a lag below 100
    assert verdict.facts["input"] - verdict.facts["output"] > 40


def test_one_position_that_sees_the_next_is_enough():
    facts = check(lookahead.BoundaryLeak, d_model=D_MODEL).verdicts["causality"].facts
    assert (facts["input"], facts["output"]) in {(128, 127), (256, 255)}


def test_the_evidence_tells_training_from_evaluation():
    assert "training mode" in judged(lookahead.LeakInTraining).verdicts["causality"].evidence
    assert "evaluation mode" in judged(lookahead.WholeSoftmax).verdicts["causality"].evidence


@pytest.mark.parametrize(
    ("cls", "name", "evidence"),
    [
        (misfits.BatchStatistics, "independent rows", r"when row 0 changes, output \d+ of row"),
        (misfits.BatchSize, "independent rows", r"output \d+ of row \d differs .* alone"),
        (misfits.BatchSizeInTraining, "independent rows", r"row is alone \(training mode\)"),
        (misfits.LengthInside, "lengths", r"output 0 differs .* first 1 positions alone and"),
        (misfits.HiddenLimit, "lengths", r"fails at length 100: .* raises RuntimeError"),
        (misfits.WholeChunks, "lengths", r"fails at length 1, 2, 7, 16, 100: .* length 1 raises"),
        (misfits.OtherType, "shape and type", r"torch.float32 on cpu gives .* torch.float64"),
        (misfits.Idle, "gradients", r"gradient of idle is always zero"),
        (misfits.Cut, "gradients", r"gradient of scale is always zero"),
        (misfits.InfiniteSlope, "gradients", r"scale has .* not finite at initialisation"),
        (misfits.OtherWeights, "determinism", r"average.proj.bias differs between two builds"),
        (steppers.ForgetfulStep, "step form", r"output 1 of the step form differs"),
        (steppers.OverwritingStep, "pure steps", r"step 0 overwrites the given state\['\w+'\]"),
        (steppers.StepWithMemory, "pure steps", r"output 5 .* another sequence steps"),
        (steppers.FillsARing, "pure steps", r"step 15 overwrites the given state"),
        (steppers.KeepsAHandle, "pure steps", r"step raises KeyError.* part of the past is not in"),
        (steppers.MovesToTheModule, "pure steps", r"output \d+ .* another sequence steps"),
        (steppers.KeepsNumbers, "pure steps", r"grows by numbers or text outside of tensors"),
        (steppers.KeepsText, "pure steps", r"grows by numbers or text outside of tensors"),
    ],
)
def test_a_fault_is_found_by_its_check_alone(cls, name, evidence):
    report = judged(cls)
    assert failing(report) == {name}
    assert re.search(evidence, report.verdicts[name].evidence)


@pytest.mark.parametrize(
    ("cls", "kind"),
    [(steppers.KeepsAClosure, "function"), (steppers.KeepsAPartial, "partial")],
)
def test_a_state_that_cannot_be_read_is_no_failure(cls, kind):
    report = judged(cls)
    assert report.ok
    assert report.verdicts["step form"].status == "pass"
    verdict = report.verdicts["pure steps"]
    assert verdict.status == "not measured"
    assert f"state holds a {kind}, whose content cannot be read" in verdict.evidence
    assert "no check failed; not measured: pure steps" in str(report)


@pytest.mark.parametrize(
    ("cls", "evidence"),
    [
        (misfits.OtherDice, "in a second copy"),
        (misfits.Remembering, "in a second call"),
        (misfits.EverlastingDropout, "with another seed by"),
    ],
)
def test_what_is_not_deterministic_is_said_to_be(cls, evidence):
    report = judged(cls)
    assert evidence in report.verdicts["determinism"].evidence
    assert {"causal gradients", "gradients"}.isdisjoint(failing(report))


@pytest.mark.parametrize(
    ("cls", "evidence"),
    [
        (misfits.Halved, "(3, 1, 8) gives an output of shape (3, 1, 4)"),
        (misfits.Named, "forward returns a dict"),
        (misfits.Overwriting, "overwrites its input"),
        (misfits.OverwritingUntrained, "overwrites its input"),
        (misfits.RaisingUntrained, "length 1 raises RuntimeError: no kernel for inference"),
        (misfits.Raising, "length 1 raises RuntimeError: no kernel for cpu"),
        (misfits.Unbuildable, "building it raises ZeroDivisionError"),
    ],
)
def test_what_does_not_run_is_reported_once(cls, evidence):
    report = judged(cls)
    assert failing(report) == {"shape and type"}
    assert evidence in report.verdicts["shape and type"].evidence
    others = {verdict.status for name, verdict in report.verdicts.items() if name in CHECKS}
    assert others == {"fail", "not offered"}
    assert report.measured[0].problems
    assert "does not run" in str(report)


def test_what_is_random_in_training_is_judged_alone_in_evaluation():
    assert judged(sound.Average).verdicts["independent rows"].evidence.count("training") == 2
    evidence = judged(sound.Dropout).verdicts["independent rows"].evidence
    assert evidence.endswith("(evaluation mode); also in float32")


def test_what_is_not_finite_is_placed():
    verdict = judged(misfits.NotFinite).verdicts["shape and type"]
    assert (verdict.status, verdict.facts["output"]) == ("fail", 5)


def test_one_length_is_enough_for_the_other_checks():
    report = check(misfits.WholeChunks, d_model=D_MODEL, max_len=64)
    assert failing(report) == {"lengths"}
    verdict = report.verdicts["causality"]
    assert verdict.status == "pass"
    assert "(64 positions, in float32 also 32; a fault at other lengths" in verdict.evidence


def test_an_output_without_gradient_fails_where_gradients_matter():
    report = judged(misfits.Detached)
    assert failing(report) == {"causal gradients", "gradients"}


@pytest.mark.parametrize("cls", [steppers.StepOfAnotherShape, steppers.RaisingStep])
def test_a_step_that_does_not_run_fails_both_checks_of_it(cls):
    assert failing(judged(cls)) == {"step form", "pure steps"}


@pytest.mark.parametrize(
    "cls",
    [
        sound.Average,
        sound.WithoutStep,
        sound.Dropout,
        sound.GoodLimit,
        sound.ComplexWeights,
        sound.SingleState,
        sound.SinglePrecision,
        sound.RoundedInside,
        steppers.KeepsAll,
        steppers.RoomForAll,
        steppers.KeepsAnAttribute,
        steppers.KeepsBits,
        steppers.KeepsFloats,
        sound.Shared,
        sound.NotANumber,
    ],
)
def test_a_sound_mixer_passes(cls):
    report = judged(cls)
    assert report.ok, report
    offers = issubclass(cls, sound.Average)
    assert report.verdicts["step form"].status == ("pass" if offers else "not offered")


@pytest.mark.parametrize(
    ("cls", "reason"),
    [
        (sound.Average, "float64, relative tolerance 1e-09"),
        (sound.ComplexWeights, "float64, relative tolerance 1e-09"),
        (sound.SinglePrecision, "0.0001: in float64, forward at length 100 raises TypeError"),
        (sound.RoundedInside, "0.0001: in float64 it rounds like float32"),
        (lookahead.RoundedLeak, "0.0001: in float64 it rounds like float32"),
    ],
)
def test_the_precision_is_that_of_the_module_and_is_said(cls, reason):
    assert reason in judged(cls).precision
