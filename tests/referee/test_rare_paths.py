"""Faults on rare paths are found: other backward passes, random paths, sizes of a batch, caches."""

import re

import pytest
import rare_paths as rare
import sound
from judging import D, judged

from recollect.referee.check import contexts
from recollect.referee.remarks import remarks

pytestmark = pytest.mark.slow


@pytest.mark.parametrize(
    ("cls", "name", "evidence"),
    [
        (
            rare.GradientAheadInTraining,
            "causal gradients",
            r"^output 0 has a gradient of \S+ at input 1.*training mode",
        ),
        (rare.GradientAheadInSingle, "causal gradients", r"^in float32: output 0 has a gradient"),
        (rare.GradientAheadUnderAutocast, "causal gradients", r"^under bfloat16 autocast: output"),
        (rare.SometimesAhead, "causality", r"input \d+ changes output \d+ .*training mode"),
        (rare.AheadAlone, "causality", r"input \d+ changes output \d+ .*training mode, one row"),
        (rare.MixesPairs, "independent rows", r"half of 64 rows change, output \d of row \d+,"),
        (rare.MixesAtRandom, "independent rows", r"half of 64 rows change.*training mode"),
        (
            rare.MixesGradientsInTraining,
            "independent rows",
            r"outputs of row 0 have a gradient of \S+ at inputs of row [12] \(training mode\)",
        ),
        (rare.StepMixesMany, "step form", r"output 0 of the step form for 64 rows differs"),
        (rare.ListsLosses, "gradients", r"ListsLosses returned the shape \(2,\) as its"),
        (rare.GrowsInTraining, "repeated calls", r"in training mode, output \d+ .* later pass"),
        (rare.KeepsWeightsOfAll, "determinism", r"differs by .* when no gradients are recorded"),
    ],
)
def test_a_fault_on_a_rare_path_is_found(cls, name, evidence):
    verdict = judged(cls, name)
    assert verdict.status == "fail"
    assert re.search(evidence, verdict.evidence), verdict.evidence


@pytest.mark.parametrize(
    ("cls", "remark"),
    [
        (rare.HalvedInTraining, "in training mode, outputs change along a direction with slope"),
        (
            rare.HalvedInSingle,
            "in float32, the type of training, the gradient of its input differs",
        ),
        (rare.TwiceInSingle, "in float32, the type of training, the output differs by 1 of"),
    ],
)
def test_a_gradient_that_is_wrong_only_in_training_is_remarked(cls, remark):
    (subject,) = contexts(cls, d_model=D, max_len=64)
    (found,) = remarks(subject)
    assert found.startswith(remark)


def test_a_parameter_may_be_trained_by_the_auxiliary_loss_alone():
    verdict = judged(rare.LearnsBesides, "gradients")
    assert verdict.status == "pass", verdict.evidence


def test_buffers_that_evaluation_changes_are_remarked():
    (subject,) = contexts(rare.CountsInEvaluation, d_model=D, max_len=64)
    (found,) = remarks(subject)
    assert found.startswith("evaluation changes the buffer seen in every pass")


@pytest.mark.parametrize("cls", [sound.Average, sound.Dropout, sound.ComplexWeights])
def test_rounding_and_dropout_are_not_remarked(cls):
    (subject,) = contexts(cls, d_model=D, max_len=64)
    assert not list(remarks(subject))
