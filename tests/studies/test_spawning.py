"""Scripts that start a study where workers cannot follow: each ends, with a message that helps."""

import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

STUDY = """
import recollect as rc

def study(rates):
    return rc.Study(
        "s",
        tasks=[rc.MQAR(seq_len=8, num_kv_pairs=1, vocab_size=16)],
        models=rc.models_grid(["attention"], d_model=[8], n_layers=[1]),
        train=rc.TrainConfig(
            steps=2, batch_size=2, valid_examples=2, test_examples=2, eval_every=1
        ),
        search=rc.FixedGrid(rates=rates),
        seeds=[1],
    )
"""
POOL = """
def start(_):
    rc.run(study([1e-2]), store="s.db", workers=1)

if __name__ == "__main__":
    import multiprocessing
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        pool.map(start, [0])
"""


def run(words: list[str], folder: Path, text: str | None = None) -> subprocess.CompletedProcess:
    command = [sys.executable, *words]
    return subprocess.run(
        command, cwd=folder, input=text, capture_output=True, text=True, timeout=100, check=False
    )


def test_a_script_without_a_guard_does_not_wait_for_itself(tmp_path: Path):
    """With one trial, which the worker would see the script at work on."""
    (tmp_path / "script.py").write_text(
        STUDY + 'print("began")\nrc.run(study([1e-2]), store="s.db", workers=1)\n'
    )
    ran = run(["script.py"], tmp_path)
    assert ran.returncode == 1
    assert 'below `if __name__ == "__main__":`' in ran.stderr.splitlines()[-1]
    assert ran.stdout == "began\n" * 2, "of the worker's there is no more than that"


@pytest.mark.parametrize(
    ("words", "text", "message"),
    [
        (["-"], STUDY + 'rc.run(study([1e-2]), store="s.db", workers=1)', "save the script"),
        (["pool.py"], None, "use workers=0"),
    ],
    ids=["standard input", "a pool of the user's"],
)
def test_where_workers_cannot_be_started_it_is_said(words, text, message, tmp_path: Path):
    (tmp_path / "pool.py").write_text(STUDY + POOL)
    ran = run(words, tmp_path, text)
    assert ran.returncode == 1
    assert message in ran.stderr.splitlines()[-1]
