"""Unusual states are measured or reported as unreadable; faulty steps are reported."""

import re

import foreign_states as foreign
import pytest

import recollect as rc
from recollect.bench.mixers import measure_mixer
from recollect.bench.settings import BenchSettings
from recollect.referee.check import contexts, judge, measure

pytestmark = pytest.mark.slow

D = 4
READ = [
    *(foreign.Slots, foreign.PrivateSlots, foreign.Deque, foreign.OfASet, foreign.WithSettings),
    *(foreign.Cyclic, foreign.KnowsItsLayer, foreign.OnNumPy, foreign.KeywordsOnly),
]


def judged(cls, name):
    return judge(name, contexts(cls, d_model=D, max_len=64)[0])


@pytest.mark.parametrize("cls", READ)
def test_a_state_is_read_whatever_holds_it(cls):
    verdict = judged(cls, "pure steps")
    assert verdict.status == "pass", verdict.evidence
    state = measure(cls, d_model=D)[0].state
    assert (state.law, state.numbers[512]) == ("constant", D)


def test_a_cyclic_state_gets_a_sentence():
    evidence = judged(foreign.Cyclic, "pure steps").evidence
    assert "state.owner.parts[0] refers back to an object around it" in evidence


def test_a_deep_state_is_measured():
    assert judged(foreign.Chained, "pure steps").status == "pass"
    state = measure(foreign.Chained, d_model=D)[0].state
    assert (state.law, state.numbers[512]) == ("linear", 512 * D)


def test_the_cache_of_a_library():
    assert judged(foreign.OfTransformers, "step form").status == "pass"
    verdict = judged(foreign.OfTransformers, "pure steps")
    assert verdict.status == "pass", verdict.evidence
    assert measure(foreign.OfTransformers, d_model=D)[0].state.law == "constant"


@pytest.mark.parametrize(
    ("cls", "name", "evidence"),
    [
        (foreign.StateFirst, "step form", r"seems to take \(state, x_t\)"),
        (foreign.GivesEqualShapesReversed, "step form", r"seems to return \(state, y_t\)"),
        (foreign.GivesOutputAlone, "step form", r"returns only y_t, expected the pair"),
        (foreign.GivesStateFirst, "step form", r"step returns \(state, y_t\), expected"),
        (foreign.GivesThree, "step form", r"returns a tuple, expected the pair \(y_t, new state\)"),
        (foreign.OverwritesSlots, "pure steps", r"step 0 overwrites the given state\.\w+"),
        (foreign.DrawsFromItsState, "pure steps", r"overwrites the given state.generator"),
    ],
)
def test_a_fault_of_the_steps_is_named(cls, name, evidence):
    verdict = judged(cls, name)
    assert verdict.status == "fail"
    assert re.search(evidence, verdict.evidence), verdict.evidence


@pytest.mark.parametrize("cls", [foreign.LastInput, "rwkv4", "rwkv7"])
def test_an_input_in_the_state_is_charged_once_by_check_and_bench(cls):
    held = measure(cls, d_model=8)[0].state.bytes[64]
    if cls is foreign.LastInput:
        assert held == 8 * 4
    model = rc.ModelConfig(mixer=cls, d_model=8)
    settings = BenchSettings(models=[model], lengths=(64,), batch=3, repeats=1)
    (results,) = measure_mixer(model, settings)
    assert next(each for each in results if each.quantity == "state").median == held
