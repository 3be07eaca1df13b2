"""`recollect check`: verdicts, exit codes, and wrong input."""

import json
from pathlib import Path

import pytest
from typed import typed

pytestmark = pytest.mark.slow

FAULTS = Path(__file__).parents[1] / "referee"
QUICK = ["--d-model", 8, "--max-len", 64]


def test_a_sound_mixer():
    answer = typed("check", "attention", *QUICK, "--speed")
    assert answer.code == 0
    for part in ("causality", "linear", "per token", "times as long as attention", "no check"):
        assert part in answer.out
    assert "fail" not in answer.out.replace("no check failed", "")


@pytest.mark.parametrize(
    ("file", "name", "check", "evidence"),
    [
        ("lookahead", "WholeSoftmax", "causality", "input 1 changes output 0"),
        ("lookahead", "SymmetricConv", "causality", "input 1 changes output 0"),
        ("misfits", "BatchStatistics", "independent rows", "when row 0 changes, output"),
        ("steppers", "ForgetfulStep", "step form", "output 1 of the step form differs"),
        ("misfits", "Idle", "gradients", "the gradient of idle is always zero"),
    ],
)
def test_a_fault_in_a_users_file(file, name, check, evidence):
    answer = typed("check", f"{FAULTS / file}.py:{name}", *QUICK)
    assert answer.code == 1
    assert evidence in answer.out
    last = answer.out.splitlines()[-1]
    assert last.startswith("failed: ")
    assert check in last


def test_what_cannot_be_measured_is_no_failure():
    answer = typed("check", f"{FAULTS}/steppers.py:KeepsAPartial", *QUICK)
    assert answer.code == 0
    assert answer.out.splitlines()[-1] == "no check failed; not measured: pure steps"


def test_json():
    answer = typed("check", f"{FAULTS}/lookahead.py:SymmetricConv", *QUICK, "--json")
    assert answer.code == 1
    report = json.loads(answer.out)
    assert report["ok"] is False
    causality = report["verdicts"]["causality"]
    assert causality["status"] == "fail"
    assert (causality["facts"]["input"], causality["facts"]["output"]) == (1, 0)
    assert report["measured"][0]["speed"] is None


def test_what_a_mixer_prints_is_no_json():
    answer = typed("check", f"{FAULTS}/foreign_training.py:Talkative", *QUICK, "--json")
    assert json.loads(answer.out)["ok"]
    assert {"built", "called"} <= set(answer.err.splitlines())


def test_options():
    answer = typed("check", "attention", *QUICK, "--set", "window=5", "--set", "n_heads=2")
    assert answer.code == 0
    assert "attention(n_heads=2,window=5)" in answer.out
    assert "saturating at 4 tokens" in answer.out


def test_options_as_tables_write_them():
    answer = typed("check", "attention(n_heads=2)", *QUICK, "--set", "window=5")
    assert answer.code == 0
    assert "attention(n_heads=2,window=5)" in answer.out


def test_options_of_a_layer_pattern():
    answer = typed("check", "griffin(window=4)", *QUICK)
    assert answer.code == 0, answer.out + answer.err
    assert "griffin(window=4)" in answer.out


def test_a_mixer_that_asks_for_an_option():
    words = ["check", f"{FAULTS}/sound.py:WithOption", *QUICK]
    assert typed(*words, "--set", "width=3").code == 0
    answer = typed(*words)
    assert answer.code == 2
    assert "needs the options width" in answer.err


@pytest.mark.parametrize(
    ("words", "parts"),
    [
        (["mambo"], ["'mambo'", "'mamba'"]),
        (["missing.py:Mixer"], ["missing.py", "file.py:class"]),
        ([f"{FAULTS}/sound.py"], ["which class?", ":Class"]),
        ([f"{FAULTS}/sound.py:Avarage"], ["'Avarage'", "'Average'"]),
        (["torch.nn:Gruu"], ["'Gruu'", "'GRU'"]),
        (["torch.nn:multiheadattention"], ["'MultiheadAttention'"]),
        (["attention", "--set", "heads=2"], ["'heads'", "'n_heads'"]),
        (["attention", "--set", "n_heads=5"], ["n_heads=5", "d_model=64"]),
        (["attention", "--device", "abacus"], ["'abacus'", "cpu"]),
    ],
)
def test_wrong_input(words, parts):
    answer = typed("check", *words)
    assert (answer.code, answer.out) == (2, "")
    assert len(answer.err.strip().splitlines()) == 1
    for part in parts:
        assert part in answer.err
