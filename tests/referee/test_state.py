"""Measured state: bytes of storage and the law they follow."""

import random
import re

import numpy as np
import pytest
import sound
import steppers
import torch

import recollect as rc
from recollect.analysis.scaling import state_size
from recollect.models.config import ModelConfig
from recollect.referee.check import contexts, judge, measure
from recollect.referee.generators import kept
from recollect.referee.report import state_text
from recollect.referee.state import Size, _law, refuse_growth_outside_tensors, storage
from recollect.referee.verdict import Misbehaviour
from recollect.referee.walk import walk

D = 8


def state(mixer, **sizes):
    return measure(mixer, **({"d_model": D} | sizes))[0].state


@pytest.mark.parametrize(
    ("mixer", "law", "numbers"),
    [
        (sound.Average, "constant", {1: D, 64: D, 512: D}),
        (sound.Shared, "constant", {1: D, 64: D, 512: D}),
        ("attention", "linear", {1: 2 * D, 64: 128 * D, 512: 1024 * D}),
        (steppers.KeepsAll, "linear", {1: D, 64: 64 * D, 512: 512 * D}),
        (steppers.HoldsOn, "linear", {1: 2 * D, 64: 65 * D, 512: 513 * D}),
        (
            steppers.Doubling,
            "growing",
            {1: D, 64: 64 * D, 512: 512 * D},
        ),
        ("long-conv", "linear", {1: D, 64: 64 * D, 512: 512 * D}),
        (rc.mixer("attention", window=1), "constant", {1: 0, 64: 0, 512: 0}),
        *(
            (
                rc.mixer("attention", window=window),
                f"saturating at {window - 1} tokens" if window < 512 else "linear",
                {n: 2 * D * min(n, window - 1) for n in (1, 64, 512)},
            )
            for window in (100, 258, 300, 500, 600)
        ),
        (
            rc.mixer("attention", qkv_conv=4),
            "linear",
            {1: 11 * D, 64: 137 * D, 512: 1033 * D},
        ),
    ],
    ids=str,
)
def test_the_law_of_growth(mixer, law, numbers):
    measured = state(mixer)
    assert (measured.law, measured.numbers) == (law, numbers)
    assert measured.bytes == {n: 4 * size for n, size in numbers.items()}


def test_growth_whose_end_is_not_in_sight():
    assert _law([100, 110, 130, 170]) == "growing"
    chunks = [-(-n // 16) for n in range(1, 101)]
    assert _law(chunks) == "growing"
    assert _law(chunks + chunks[-1:] * 30) == "saturating at 97 tokens"
    early_window = [n + min(n, 40) for n in range(1, 101)]
    assert _law(early_window) == "linear"


def test_room_for_the_longest_sequence_is_no_constant_state():
    measured = state(steppers.RoomForAll)
    assert measured.law == "constant, growing with max_len"
    assert measured.numbers[1] == 513 * D


def test_a_state_that_grows_with_the_vocabulary_does_not_saturate():
    assert state(steppers.KeepsATokensInput).law == "growing"


def test_a_report_claims_no_more_than_was_read():
    text = state_text(state(rc.mixer("attention", window=600)))
    assert text.startswith("linear (512 tokens read): 64 bytes (16 numbers) after 1 token")
    assert "(1 number)" in state_text(state(steppers.KeepsFloats))


def test_every_layer_is_measured():
    short, long = measure("base-conv", d_model=D)
    assert (short.layer, short.state.law) == (0, "constant")
    assert (long.layer, long.state.law) == (1, "linear")


def test_no_step_form_no_state():
    assert state(sound.WithoutStep) is None


def test_a_state_that_cannot_be_measured_is_said_to_be():
    measured = measure(steppers.Opaque, d_model=D)[0]
    assert measured.state is None
    assert "state holds a tuple_iterator" in measured.problems[0]


@pytest.mark.parametrize(
    ("cls", "problem"),
    [
        (steppers.KeepsNumbers, "numbers or text outside of tensors"),
        (steppers.KeepsText, "numbers or text outside of tensors"),
        (steppers.KeepsAClosure, "state holds a function"),
        (steppers.KeepsAPartial, "state holds a partial"),
        (steppers.KeepsAHandle, "a part of the past is not in it"),
        (steppers.MovesToTheModule, "a part of the past is not in it"),
    ],
)
def test_a_past_that_is_not_in_tensors_is_no_constant_state(cls, problem):
    measured = measure(cls, d_model=D)[0]
    assert measured.state is None
    assert problem in measured.problems[0]


def test_steps_that_depart_from_the_parallel_form_have_no_state():
    (subject,) = contexts(steppers.ForgetsLate, d_model=D)
    assert judge("step form", subject).status == "pass", "it reads fewer tokens"
    (measured,) = measure(steppers.ForgetsLate, d_model=D)
    assert measured.state is None
    assert re.search(r"output [34]\d\d of the step form differs", measured.problems[0])


def test_what_hides_in_an_attribute_or_a_long_integer_counts():
    attribute = state(steppers.KeepsAnAttribute)
    assert (attribute.law, attribute.numbers[512]) == ("constant", 1 + D)
    assert state(steppers.KeepsBits).bytes[512] == 50 * D // 8 + 1  # and the bit above them


def test_a_number_that_grows_long_keeps_the_past():
    refuse_growth_outside_tensors(walk({"position": 9}), walk({"position": 10**18}))
    with pytest.raises(Misbehaviour, match="expected tensors"):
        refuse_growth_outside_tensors(walk({"tokens": 7}), walk({"tokens": 7**1000}))


def held(state):
    return storage(walk(state))


def test_storage_counts_once_and_whole():
    whole = torch.zeros(4, 10)
    assert held(whole[0, :2]) == Size(160, 40, 8)
    assert held([whole, {"part": whole[0]}, (whole.T,)]) == Size(160, 40, 160)
    assert held([whole, whole.clone()]) == Size(320, 80, 320)
    assert held([torch.zeros(3, dtype=torch.int64), whole[:, :0], 7, None]) == Size(184, 43, 24)
    assert held(torch.zeros(0)) == Size(0, 0, 0)
    assert held(torch.zeros(3, dtype=torch.complex64)) == Size(24, 6, 24)


@pytest.mark.parametrize("cls", [steppers.KeepsFloats, steppers.KeepsHalf])
def test_a_model_s_state_is_that_of_a_check(cls):
    size = state_size(ModelConfig(mixer=cls, d_model=8, n_layers=1), 64)
    checked = measure(cls, d_model=8)[0].state
    assert (size.bytes, size.numbers) == (checked.bytes[64], checked.numbers[64])


@pytest.mark.parametrize(
    "measured",
    [
        lambda: state_size(ModelConfig(mixer="gru", d_model=8), 2),
        lambda: contexts("mamba", d_model=8),
        lambda: measure("base-conv", d_model=8),
    ],
)
def test_a_measurement_leaves_the_random_generators_as_they_were(measured):
    def drawn():
        return random.random(), np.random.rand(), torch.rand(()).item()  # noqa: NPY002

    with kept():
        expected = drawn()
    measured()
    with kept():
        assert drawn() == expected


def test_numbers_are_counted_whatever_their_width():
    size = state_size(ModelConfig(mixer=steppers.KeepsHalf, d_model=8, n_layers=2), 5)
    assert (size.bytes, size.numbers) == (2 * 8 * 2, 2 * 8)


@pytest.mark.parametrize(
    ("cls", "why"),
    [
        (sound.WithoutStep, "no step form"),
        (steppers.RaisingStep, "step raises KeyError"),
        (steppers.KeepsAClosure, "whose content cannot be read"),
        (steppers.KeepsAHandle, "a part of the past is not in it"),
    ],
)
def test_a_state_that_cannot_be_measured_has_a_reason(cls, why):
    with pytest.raises(Misbehaviour, match=why):
        state_size(ModelConfig(mixer=cls, d_model=8), 64)
