"""Wrong input: exit code 2, one message that helps, no traceback, nothing left behind."""

import sqlite3
import subprocess
import sys

import pytest
from typed import STUDY, typed

FILE = STUDY.rpartition(":")[0]
HERE = ["--workers", "0"]

TYPED = {
    "an odd length": (["tasks", "mqar", "--sample", "--set", "seq_len=63"], ["63", "64"]),
    "too many pairs": (
        ["tasks", "mqar", "--sample", "--set", "num_kv_pairs=99"],
        ["99", "396"],
    ),
    "a small vocabulary": (["tasks", "mqar", "--sample", "--set", "vocab_size=8"], ["8", "65"]),
    "a task's key": (["tasks", "mqar", "--sample", "--set", "seq_length=8"], ["seq_len"]),
    "no key": (["tasks", "mqar", "--sample", "--set", "64"], ["key=value"]),
    "a sample of nothing": (["tasks", "--sample"], ["mqar"]),
    "a setting of nothing": (["tasks", "mqar", "--set", "seq_len=8"], ["--sample"]),
    "a task": (["tasks", "mqra"], ["'mqra'", "'mqar'"]),
    "a mixer": (["mixers", "mambo"], ["'mambo'", "'mamba'"]),
    "a class for the catalogue": (
        ["mixers", "mine.py:Mine"],
        ["`recollect check mine.py:Mine`"],
    ),
    "an option of a mixer without": (
        ["check", f"{FILE}:NoNumber", "--set", "foo=3"],
        ["option of", "'foo'", "none to choose from"],
    ),
    "no rates": (["run", STUDY, "--set", "search.rates=[]"], ["FixedGrid: rates=[]: expected"]),
    "a study": (["run", "dmeo"], ["'dmeo'", "'demo'"]),
    "a scale": (["run", "demo", "--scale", "desktop"], ["'desktop'", "laptop"]),
    "a file without a function": (["run", FILE], [":function"]),
    "a function": (["run", f"{FILE}:tyny"], ["'tyny'", "'tiny'"]),
    "a missing file": (["run", "missing.py:tiny"], ["missing.py"]),
    "a missing module": (["run", "missing:tiny"], ["missing"]),
    "a missing module of a package": (["run", "recollect.studys:main"], ["recollect.studys"]),
    "no study": (["run", f"{FILE}:no_study"], ["returned str"]),
    "a scale that is not taken": (["run", STUDY, "--scale", "paper"], ["no parameter scale"]),
    "a study's mixer": (["run", STUDY, "--mixers", "atention"], ["'attention'"]),
    "a mixer of the catalogue": (["run", STUDY, "--mixers", "kdaa"], ["'kdaa'", "'kda'"]),
    "a layer pattern": (["run", STUDY, "--mixers", "griffin"], ["griffin", "layer pattern"]),
    "no mixers": (["run", STUDY, "--mixers", ""], ["--mixers is empty"]),
    "no widths": (["run", STUDY, "--widths", ","], ["--widths is empty"]),
    "a function with arguments": (["run", f"{FILE}:of_width"], ["of_width requires width"]),
    "a class in place of a function": (["run", f"{FILE}:Mean"], ["type", "a function that"]),
    "a study in place of a function": (["run", f"{FILE}:MADE"], ["a Study", "a function that"]),
    "a study's task": (["run", STUDY, "--tasks", "16x3"], ["mqar-16x2"]),
    "a width": (["run", STUDY, "--widths", "12"], ["8"]),
    "no number": (["run", STUDY, "--widths", "8;16"], ["8;16", "64,128"]),
    "too many seeds": (["run", STUDY, "--seeds", "3"], ["1 to 2"]),
    "a key": (["run", STUDY, "--set", "train.stpes=2"], ["train.steps"]),
    "a value": (["run", STUDY, "--set", "train.steps=many"], ["many"]),
    "heads that do not divide": (["run", f"{FILE}:three_heads"], ["n_heads=3", "d_model=8"]),
    "a device": (["run", STUDY, "--device", "tpu"], ["tpu", "cuda"]),
    "an executor": (["run", STUDY, "--on", "rya"], ["'rya'", "'ray'"]),
    "a GPU by its number on a cluster": (
        ["run", STUDY, "--on", "ray", "--device", "cuda:1"],
        ["cuda:1", "Ray chooses"],
    ),
    "an address without a cluster": (["run", STUDY, "--address", "h:1"], ["--address", "--on ray"]),
    "a part that is none": (["run", STUDY, "--part", "3/2"], ["'3/2'", "i/n"]),
    "too many parts": (["run", STUDY, "--part", "1/9"], ["1/9", "at most 4"]),
    "an unwritable store": (["run", STUDY, "--store", "file/s.db"], ["file"]),
    "an unwritable folder": (["run", STUDY, "--out", "file/out"], ["file/out"]),
    "no store": (["show", "--store", "none.db"], ["none.db"]),
    "a store that is none": (["run", STUDY, "--store", "file"], ["file", "not an SQLite"]),
    "a store in memory": (["run", STUDY, "--store", ":memory:"], ["results would be lost"]),
    "a folder as a store": (["show", "--store", "."], ["is a folder", "recollect.db"]),
    "a device as a store": (["run", STUDY, "--store", "/dev/null"], ["device"]),
    "two tables at once": (["show", "--store", "tiny.db", "--trials", "--failed"], ["choose one"]),
    "a table of failures in LaTeX": (
        ["show", "--store", "tiny.db", "--failed", "--latex", "t.tex"],
        ["--csv"],
    ),
    "another database": (["show", "--store", "other.db"], ["another program"]),
    "another version": (["show", "--store", "newer.db"], ["version 99"]),
    "a study of the store": (["show", "tyny", "--store", "tiny.db"], ["'tiny'"]),
    "a kind of figure": (["plot", "--store", "tiny.db", "--kind", "acuracy"], ["'accuracy'"]),
    "a format": (["plot", "--store", "tiny.db", "--format", "jpg"], ["pdf"]),
    "a suffix": (["plot", "--store", "tiny.db", "--kind", "training", "--out", "x.jpg"], ["pdf"]),
    "one file for all": (["plot", "--store", "tiny.db", "--out", "x.png"], ["--kind"]),
    "a table of trials in LaTeX": (
        ["show", "--store", "tiny.db", "--trials", "--latex", "t.tex"],
        ["--csv"],
    ),
    "a table of trials in Markdown": (
        ["show", "--store", "tiny.db", "--trials", "--markdown", "t.md"],
        ["--csv"],
    ),
    "a study that cannot be run": (
        ["run", "revisiting-figure5", "--scale", "paper"],
        ["not published", "number of steps"],
    ),
    "a reproduction": (["reproduce", "zoology-figur2"], ["'zoology-figure2'"]),
    "no reproduction": (["reproduce"], ["all", "zoology-figure2"]),
    "a scale of reproductions": (["reproduce", "all", "--scale", "desktop"], ["'desktop'"]),
    "a device of reproductions": (["reproduce", "all", "--device", "tpu"], ["tpu", "cuda"]),
    "an address of reproductions": (
        ["reproduce", "all", "--address", "a:1"],
        ["--address a:1 requires --on ray"],
    ),
    "a place of reproductions": (["reproduce", "all", "--on", "rya"], ["did you mean 'ray'"]),
    "a page of no store": (["reproduce", "all", "--page", "p.md"], ["recollect.db"]),
    "an unwritable page": (["reproduce", "all", "--page", "file/p.md"], ["file"]),
    "a folder in the way": (["export", "tiny.db", "."], ["is a folder"]),
    "an export to memory": (["export", "tiny.db", ":memory:"], ["must be a file"]),
    "a file in the way": (["export", "tiny.db", "file"], ["file exists"]),
    "itself": (["merge", "tiny.db", "tiny.db"], ["itself"]),
    "nothing to merge into": (["merge", "absent.db", "tiny.db"], ["absent.db to merge into"]),
    "nothing to merge from": (
        ["merge", "tiny.db", "tiny.db", "absent.db"],
        ["absent.db to merge from", "nothing was merged"],
    ),
    "a metric that is none": (["run", STUDY, "--set", "train.metrics=x"], ["unknown metric 'x'"]),
    "artifacts nowhere": (
        ["run", STUDY, "--store", "tiny.db", "--artifacts", "file/a"],
        ["cannot write to", "cannot create the folder file/a", "Not a directory"],
    ),
}


@pytest.fixture
def folder(stored, tmp_path, monkeypatch):
    """A folder with a store, and files that are none."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "tiny.db").write_bytes(stored.read_bytes())
    (tmp_path / "file").write_text("a file of the user's, long enough to have a header. " * 4)
    with sqlite3.connect("other.db") as other:
        other.execute("CREATE TABLE theirs (x)")
    other.close()
    (tmp_path / "newer.db").write_bytes(stored.read_bytes())
    with sqlite3.connect("newer.db") as newer:
        newer.execute("PRAGMA user_version = 99")
    newer.close()
    return tmp_path


def contents(folder) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.mark.parametrize("what", TYPED)
def test_one_message_that_helps(what, folder):
    words, helpful = TYPED[what]
    before = contents(folder)
    answer = typed(*words, *(HERE if words[0] == "run" else []))
    assert answer.code == 2
    assert answer.out == ""
    assert answer.err.startswith("Error: ")
    assert answer.err.count("\n") == 1
    for text in helpful:
        assert text in answer.err
    assert contents(folder) == before


@pytest.mark.parametrize(
    ("words", "helpful"),
    [
        (["shwo"], "'show'"),
        (["run", "demo", "--mixer", "mamba"], "--mixers"),
        (["run", "demo", "--workers", "-1"], "'-1'"),
        (["run", "demo", "--seeds", "two"], "'two'"),
        (["run"], "STUDY"),
    ],
)
def test_unknown_words(words, helpful, folder):
    before = contents(folder)
    answer = typed(*words)
    assert answer.code == 2
    assert helpful in answer.err
    assert "Traceback" not in answer.err
    assert contents(folder) == before


def test_the_process_ends_with_the_code(tmp_path):
    words = [sys.executable, "-m", "recollect.cli", "mixers", "mambo"]
    ran = subprocess.run(words, capture_output=True, text=True, cwd=tmp_path, check=False)
    assert ran.returncode == 2
    assert ran.stdout == ""
    assert ran.stderr.count("\n") == 1
