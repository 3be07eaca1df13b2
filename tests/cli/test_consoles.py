"""Terminals, pipes and files of every kind: no traceback, and a sensible exit code."""

import io
import json
import os
import subprocess
import sys

import pexpect
import pytest
from torch import nn

import recollect as rc
from recollect.cli.output import print_table

pytestmark = pytest.mark.slow

OWN = "Größe(k=$北)"
PROGRAM = [sys.executable, "-m", "recollect.cli"]
STUDY_FILE = """
from torch import nn
import recollect as rc

class Größe(nn.Module):
    def __init__(self, d_model, k="é"):
        super().__init__()
        self.linear = nn.Linear(d_model, d_model)

    def forward(self, x):
        return self.linear(x.cumsum(1))

def study():
    return rc.Study(
        "größer 北",
        tasks=[rc.MQAR(seq_len=8, num_kv_pairs=1, vocab_size=16)],
        models=rc.models_grid([rc.mixer(Größe, k="$北")], d_model=[8], n_layers=[1]),
        train=rc.TrainConfig(
            steps=1, batch_size=2, valid_examples=2, test_examples=2, eval_every=1
        ),
        search=rc.FixedGrid(rates=[1e-2]),
        seeds=[1],
    )
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with a study of names that not every console can print, run on one that cannot."""
    folder = tmp_path_factory.mktemp("consoles")
    (folder / "mine.py").write_text(STUDY_FILE, encoding="utf-8")
    words = ["run", "mine.py:study", "--store", "s.db", "--workers", "0", "--device", "cpu"]
    ran = shell(words, folder, env={"PYTHONIOENCODING": "ascii"})
    assert ran.returncode == 0
    assert "Gr\\xf6\\xdfe(k=$\\u5317)" in ran.stdout
    assert "Gr\\xf6\\xdfe" in ran.stderr
    return folder


def shell(words, folder, redirect="", env=None) -> subprocess.CompletedProcess:
    """Run the program by a shell; the exit code is the program's, whatever it is piped into."""
    command = ["bash", "-o", "pipefail", "-c", f'"$@" {redirect}', "bash", *PROGRAM, *words]
    return subprocess.run(
        command,
        cwd=folder,
        env=os.environ | (env or {}),
        capture_output=True,
        encoding="utf-8",
        errors="surrogateescape",
        timeout=100,
        check=False,
    )


SHOW = ["show", "--store", "s.db"]
LIST = ["mixers"]
"""Prints a table too, and starts in a fraction of the time."""


@pytest.mark.parametrize(
    ("words", "redirect", "code"),
    [
        (SHOW, "| true", 141),
        ([*LIST, "--json"], ">&-", 0),
        (["show", "no such study", "--store", "s.db"], "<&- >&- 2>&-", 2),
    ],
)
def test_where_nobody_reads_the_end_is_quiet(words, redirect, code, folder):
    ran = shell(words, folder, redirect)
    assert ran.returncode == code
    assert ran.stdout + ran.stderr == ""


@pytest.mark.parametrize("words", [LIST, [*LIST, "--json"], [*LIST, "--help"]], ids=str)
def test_output_that_cannot_be_written_is_one_message(words, folder):
    ran = shell(words, folder, "> /dev/full")
    assert ran.returncode == 1
    assert ran.stderr == "Error: cannot write: No space left on device\n"


C_LOCALE = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}


@pytest.mark.parametrize("env", [C_LOCALE, {"PYTHONIOENCODING": "cp1252"}], ids=str)
def test_json_is_json_in_every_encoding(env, folder):
    ran = shell([*SHOW, "--json", "--csv", os.fsdecode(b"\xff.csv")], folder, env=env)
    result = json.loads(ran.stdout)
    assert (result["study"], result["cells"][0]["mixer"]) == ("größer 北", OWN)
    assert (folder / os.fsdecode(b"\xff.csv")).read_text(encoding="utf-8").count(OWN) == 1
    assert "wrote" in ran.stderr


@pytest.mark.parametrize(
    "env",
    [{"TERM": "dumb", "COLUMNS": "0"}, {"COLUMNS": "20", "NO_COLOR": "1"}],
    ids=str,
)
def test_a_terminal_of_any_kind_shows_the_table(env, folder):
    terminal = pexpect.spawn(
        PROGRAM[0],
        [*PROGRAM[1:], *SHOW],
        cwd=folder,
        env=os.environ | env,
        encoding="utf-8",
        timeout=100,
    )
    out = terminal.read()
    terminal.close()
    assert terminal.exitstatus == 0
    assert "Größe" in out


def test_a_table_is_aligned_where_names_are_spelled_out(monkeypatch):
    out = io.TextIOWrapper(io.BytesIO(), encoding="latin-1")
    monkeypatch.setattr(sys, "stdout", out)
    print_table(["name", "x"], [["ö北", "1"], ["plain", "2"]])
    out.flush()
    lines = out.buffer.getvalue().decode("latin-1").splitlines()
    rows = [line for line in lines if line.rstrip()[-1:].isdigit()]
    assert len(rows) == 2
    assert len({row.rstrip().rindex(row.rstrip()[-1]) for row in rows}) == 1
    assert "ö\\u5317" in rows[0]


class Named(nn.Module):
    def __init__(self, d_model: int, word: str) -> None:  # noqa: ARG002
        super().__init__()


def test_what_no_file_can_hold_is_refused():
    model = rc.ModelConfig(mixer=rc.mixer(Named, word="\udcff"), d_model=8)
    with pytest.raises(rc.UserError, match="cannot be stored"):
        rc.Study("s", tasks=[rc.MQAR(seq_len=8, num_kv_pairs=1)], models=[model])
