"""`recollect bench`: its document, its tables, wrong input."""

import json

import pytest
from typed import typed

pytestmark = pytest.mark.slow

SMALL = ["--mixers", "attention(qkv_conv=3)", "--widths", 8, "--lengths", 16, "--batch", 2]


@pytest.fixture(scope="module")
def measured(tmp_path_factory):
    """What a small run prints, and its document."""
    path = tmp_path_factory.mktemp("bench") / "new" / "bench.json"
    words = ["data", "step", "mixers", "startup", *SMALL, "--repeats", 1, "--device", "cpu"]
    answer = typed("bench", *words, "--out", path, "--markdown", path.with_suffix(".md"))
    assert answer.code == 0
    return answer, json.loads(path.read_text()), path


def test_the_document_tells_the_machine(measured):
    machine = measured[1]["machine"]
    assert machine["processor"]
    assert machine["device"] == "cpu"
    assert machine["threads"] == machine["repeats"] == 1
    assert min(machine[name] for name in ("cores", "memory_bytes", "matmul_peak")) > 0
    assert {"python", "torch", "recollect", "system"} <= set(machine)


def test_the_document_tells_each_measurement(measured):
    document = measured[1]
    assert document["left_out"] == []
    found = document["measurements"]
    assert {each["benchmark"] for each in found} == {"machine", "data", "step", "mixers", "startup"}
    for each in found:
        assert 0 <= each["low"] <= each["median"] <= each["high"]
        assert each["unit"]
        assert each["quantity"]
    subjects = {each["subject"] for each in found if each["benchmark"] in ("step", "mixers")}
    assert subjects == {"attention(qkv_conv=3)"}


def test_tables(measured):
    answer, _, path = measured
    assert "float32 matrix products" in answer.out
    for part in ("mqar-512x64", "step (ms)", "of peak (%)", "state (bytes)", "recollect tasks"):
        assert part in answer.out
    assert f"wrote {path}" in answer.err


def test_tables_in_markdown(measured):
    _, document, path = measured
    lines = path.with_suffix(".md").read_text().splitlines()
    assert document["machine"]["processor"] in lines[0]
    for name in ("data", "step", "mixers", "startup"):
        assert f"**{name}**" in lines
    (row,) = (line for line in lines if line.startswith("| attention(qkv\\_conv=3) | 8 | 2 | 16 |"))
    heading = next(line for line in lines if line.startswith("| step |"))
    assert row.count("|") == heading.count("|")


@pytest.mark.parametrize(
    ("words", "parts"),
    [
        (["stp"], ["benchmark 'stp'", "'step'"]),
        (["step", "--mixers", "mambo"], ["'mambo'", "'mamba'"]),
        (["step", "--mixers", "attention(heads=2)"], ["'heads'", "'n_heads'"]),
        (["step", "--batch", 0], ["batch=0", "greater than 0"]),
        (["step", "--repeats", 0], ["repeats=0"]),
        (["step", "--threads", 0], ["threads=0"]),
        (["step", "--widths", 0], ["d_model=0"]),
        (["mixers", "--lengths", "64,65536"], ["65536", "32768"]),
        (["mixers", "--lengths", "long"], ["--lengths=long", "whole numbers"]),
        (["mixers", "--device", "abacus"], ["'abacus'", "'cpu'"]),
        (["step", "--lengths", 2], ["num_kv_pairs=1", "seq_len >= 4"]),
        (["step", "--lengths", 17], ["seq_len=17"]),
        (["data", "--out", "/dev/null/bench.json"], ["cannot write"]),
    ],
)
def test_wrong_input(words, parts):
    answer = typed("bench", *words)
    assert (answer.code, answer.out) == (2, "")
    assert len(answer.err.strip().splitlines()) == 1
    for part in parts:
        assert part in answer.err
