"""Faults on rare paths are found: other backward passes, random paths, sizes of a batch, caches."""

import re

import pytest
import rare_paths as rare

from recollect.referee.check import contexts, judge

pytestmark = pytest.mark.slow

D = 4


def judged(cls, name):
    return judge(name, contexts(cls, d_model=D, max_len=70)[0])


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
        (rare.MixesPairs, "independent rows", r"half of 64 rows change, output \d of row \d+,"),
        (rare.MixesAtRandom, "independent rows", r"half of 64 rows change.*training mode"),
        (
            rare.MixesGradientsInTraining,
            "independent rows",
            r"outputs of row 0 have a gradient of \S+ at inputs of row [12] \(training mode\)",
        ),
        (rare.StepMixesMany, "step form", r"output 0 of the step form for 64 rows differs"),
        (rare.GrowsInTraining, "repeated calls", r"in training mode, output \d+ .* later pass"),
        (rare.KeepsWeightsOfAll, "determinism", r"differs by .* when no gradients are recorded"),
    ],
)
def test_a_fault_on_a_rare_path_is_found(cls, name, evidence):
    verdict = judged(cls, name)
    assert verdict.status == "fail"
    assert re.search(evidence, verdict.evidence), verdict.evidence
