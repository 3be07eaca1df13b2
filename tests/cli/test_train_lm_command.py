"""`recollect train-lm` and `recollect sample`."""

import json
import os
import re
import subprocess
import sys

import pytest
from typed import typed

from recollect.language.model_folder import load_model
from recollect.language.text_task import open_text
from recollect.language.tokenizer_files import train_tokenizer
from recollect.studies.store import Store

pytestmark = pytest.mark.slow

STORY = ["the cat sat on the mat and saw another cat", "a mat, a cat, a mat", "cat cat the run"]


STUDY = """
import recollect as rc


def mine():
    return rc.Study(
        "mine",
        tasks=[rc.Text(text="story.ndjson", tokenizer=270, seq_len=8)],
        models=[rc.ModelConfig(mixer="attention", d_model=8, n_layers=1)],
        train=rc.TrainConfig(
            steps=2, batch_size=4, valid_examples=4, test_examples=4, stop_accuracy=None
        ),
        search=rc.FixedGrid(rates=[1e-3]),
        seeds=[1],
    )
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A text, and what is made of it."""
    made = tmp_path_factory.mktemp("train")
    lines = [f"{number} times {STORY[number % 3]} {number * 7919}" for number in range(150)]
    (made / "story.jsonl").write_text("".join(json.dumps({"text": line}) + "\n" for line in lines))
    return made


@pytest.fixture(autouse=True)
def _kept(folder, monkeypatch):
    monkeypatch.setenv("RECOLLECT_TEXT", str(folder / "kept"))


SMALL = ["--tokenizer", 280, "--context", 16, "--batch", 8, "--tokens", "0.5k", "--width", 8]
SMALL += ["--layers", 1, "--eval-every", 2, "--set", "train.valid_examples=8", "--device", "cpu"]


def train(folder, out, *more):
    return typed("train-lm", "--text", folder / "story.jsonl", "--out", folder / out, *SMALL, *more)


def test_trained_sampled_and_sliced(folder):
    answer = train(folder, "one", "--mixer", "mamba(d_conv=0)")
    assert answer.code == 0, answer.err
    for part in ("mamba(d_conv=0), d_model=8", "4 steps of 128 tokens", "step 2", "on AR hits"):
        assert part in answer.err
    assert "tokens/s" in answer.err
    assert "recollect sample" in answer.out
    assert re.search(r"tokens/s; test loss \d\.\d{3}, perplexity \d+\.\d\d$", answer.out, re.M)
    model = load_model(folder / "one")
    assert (model.config.label, model.max_len) == ("mamba(d_conv=0)", 16)

    words = ["sample", folder / "one", "--prompt", "the cat", "--tokens", 5, "--seed", 3]
    sampled = json.loads(typed(*words, "--json").out)
    assert len(sampled["tokens"]) == 5
    assert sampled["text"].startswith("the cat")
    assert typed(*words).out == sampled["text"] + "\n"

    sliced = typed(
        *("slice", "--text", folder / "story.jsonl@test", "--model", folder / "one"),
        *("--train-text", folder / "story.jsonl@train", "--device", "cpu", "--json"),
    )
    assert sliced.code == 0, sliced.err
    settings = json.loads(sliced.out)["settings"]
    assert settings["context"] == 15  # and what stands in front
    assert settings["begins_with"] == {"one": "<|endoftext|>"}
    assert "v280-eot, <|endoftext|> between documents;" in answer.err
    begun = typed("sample", folder / "one", "--prompt", "", "--tokens", 5)
    assert begun.code == 0, "the model has read the end of a text in front of each document"
    answer = typed("sample", folder / "one", "--prompt", "", "--tokens", 16)
    assert "Error: --tokens 16: with the prompt, of length 1," in answer.err


def test_how_the_text_was_read_is_reported(folder, tmp_path):
    rows = (folder / "story.jsonl").read_text()
    (tmp_path / "story.json").write_text('{"id": 1}\n' + rows)
    out = tmp_path / "model"
    answer = typed("train-lm", "--text", tmp_path / "story.json", "--out", out, *SMALL)
    assert answer.code == 0, answer.err
    line = f"{tmp_path / 'story.json'}: 150 documents (JSON lines); 1 row without a text left out"
    assert line in answer.err.splitlines()


def test_how_the_text_of_a_study_was_read_is_reported(folder, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "story.ndjson").write_text((folder / "story.jsonl").read_text())
    (tmp_path / "mine.py").write_text(STUDY)
    answer = typed("run", "mine.py:mine", "--workers", 0, "--device", "cpu")
    assert answer.code == 0, answer.err
    assert answer.err.splitlines()[0] == "story.ndjson: 150 documents (JSON lines)"


def test_a_second_call_goes_on_with_the_first(folder):
    first = json.loads(train(folder, "two", "--json").out)
    assert first["step"] == 4
    assert 0 < first["test_loss"] < 6
    again = train(folder, "two", "--json")
    assert json.loads(again.out) == first
    assert "step" not in again.err


def test_layers_take_turns_and_settings_are_set(folder):
    answer = train(
        *(folder, "three", "--mixer", "attention(n_heads=2),base-conv", "--layers", 2),
        *("--set", "model.norm=rmsnorm", "--set", "train.weight_decay=0.01", "--at-once", 2),
        *("--set", "model.canon=C", "--set", "model.mlp=gelu", "--set", "model.init.std=0.01"),
    )
    assert answer.code == 0, answer.err
    shown = typed("show", "--store", folder / "three" / "results.db", "--trials", "--json")
    (trial,) = json.loads(shown.out)
    with Store(folder / "three" / "results.db") as store:
        config = store.config(trial["key"])
    assert config["model"]["init"]["std"] == 0.01
    assert config["model"]["norm"] == "rmsnorm"
    assert config["train"]["weight_decay"] == 0.01
    assert load_model(folder / "three").config.label == "attention(n_heads=2)+base-conv"


MINE = """
from torch import nn


class Mean(nn.Module):
    def __init__(self, d_model: int) -> None:
        super().__init__()
        self.linear = nn.Linear(d_model, d_model)

    def forward(self, x):
        return self.linear(x.cumsum(dim=1))
"""


def test_a_mixer_of_ones_own_is_read_where_it_lies(folder, tmp_path, monkeypatch):
    monkeypatch.chdir(folder)
    (folder / "mine_to_read.py").write_text(MINE)
    assert train(folder, "five", "--mixer", "mine_to_read.py:Mean").code == 0
    read = ["sample", folder / "five", "--prompt", "the cat", "--tokens", 3]
    cut = ["slice", "--text", folder / "story.jsonl@test", "--model", folder / "five"]
    cut += ["--train-text", folder / "story.jsonl@train", "--device", "cpu"]
    probe = ["probe", folder / "five", "--show"]
    for words in (read, cut, probe):
        monkeypatch.delitem(sys.modules, "mine_to_read", raising=False)
        answer = typed(*words)
        assert "mine_to_read" not in answer.err, answer.err
    answer = subprocess.run(
        [sys.executable, "-m", "recollect.cli", *map(str, read)],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert answer.returncode == 2
    for part in ("No module named 'mine_to_read'", "current folder", "PYTHONPATH"):
        assert part in answer.stderr


def test_under_torchrun(folder):
    """Two processes; the first one alone speaks."""
    words = [*("--text", folder / "story.jsonl", "--out", folder / "four"), *SMALL, "--json"]
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    done = subprocess.run(
        [*launcher, "--nproc-per-node=2", "-m", "recollect.cli", "train-lm", *map(str, words)],
        env=os.environ | {"OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": "lo"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["step"] == 4
    assert done.stderr.count("parameters; text-story") == 1


@pytest.mark.parametrize(
    ("words", "parts"),
    [
        (["--preset", "70n"], ["'70n'", "'70m'"]),
        (["--mixer", "atention"], ["'attention'"]),
        (["--mixer", "attention("], ["attention(: expected a name, or", "both brackets"]),
        (["--mixer", "mamba(d_conv=0))"], ["mamba(d_conv=0)): expected a name"]),
        (["--mixer", "mamba(d_conv=0)x"], ["mamba(d_conv=0)x: expected a name"]),
        (["--mixer", "attention)"], ["attention): expected a name"]),
        (["--mixer", "hyena(filter_order=x)"], ["'hyena'", "filter_order='x'"]),
        (["--mixer", "attention,gla"], ["--layers 1", "has 2 mixers", "at least 2"]),
        (["--seed", str(10**20)], [f"the seed {10**20} cannot be stored"]),
        (["--mixer", "base-conv-random"], ["--layers 1", "at least 4"]),
        (["--tokens", "many"], ["many", "5M"]),
        *((["--tokenizer", n], [f"--tokenizer {n}", "257"]) for n in ("0", "100", "256")),
        (["--tokenizer", "plain.json"], ["no end-of-text token", "or --no-end-of-text"]),
        (["--learning-rate", "-1"], ["Error: --learning-rate -1.0", "greater than 0"]),
        (["--width", "9", "--heads", "2"], ["--width 9", "--heads 2"]),
        (["--text", "missing.txt"], ["no text missing.txt"]),
        (["--text", "book.txt"], ["book.txt has no document for", "JSON lines, Parquet, or a"]),
        (["--text", "."], ["wrong lies in the folder ., which is read as a text"]),
        (["--context", "5000"], ["Error: --context 5000", "no 5001 tokens in a row"]),
        (["--set", "train.stpes=3"], ["'stpes'", "'steps'"]),
        (["--set", "model.init.sdt=3"], ["'sdt'", "'std'"]),
        (["--set", "model.norm.std=3"], ["'norm.std'", "'norm'"]),
        (["--set", "task.text=x"], ["'task'", "model, train"]),
        (["--set", "train.batch_size=4"], ["Error: --set train.batch_size=4: use --batch"]),
        (["--set", "model.d_model=128"], ["Error: --set model.d_model=128: use --width"]),
        (["--set", "model.mixer=gla"], ["Error: --set model.mixer=gla: use --mixer"]),
        (["--set", "train.steps=9"], ["Error: --set train.steps=9: another option also sets"]),
        (["--out", "story.jsonl"], ["story.jsonl is not a folder"]),
        (["--device", "abacus"], ["'abacus'"]),
    ],
)
def test_wrong_input(folder, words, parts, monkeypatch):
    monkeypatch.chdir(folder)
    (folder / "book.txt").write_text(" ".join(STORY))
    train_tokenizer(STORY, 280).save(folder / "plain.json")
    answer = typed("train-lm", "--text", "story.jsonl", "--out", "wrong", *SMALL, *words)
    assert answer.code == 2
    for part in parts:
        assert part in answer.err
    store = folder / "wrong" / "results.db"
    assert not store.exists() or Store(store).studies() == [], "others may use the folder"


def test_other_settings_are_named_by_their_options(folder):
    assert train(folder, "six").code == 0
    for words, part in {
        ("--context", 8): "--context 16 in place of 8",
        ("--width", 16): "--width 8 in place of 16",
        ("--seed", 7): "with --seed 42 in place of 7: give",
        ("--mixer", "hyena"): "with --mixer attention in place of hyena: give",
        ("--heads", 2): "with --heads 1 in place of 2: give",
        ("--no-end-of-text",): "--end-of-text in place of --no-end-of-text",
        ("--set", "train.grad_clip=2"): "train.grad_clip=1.0 in place of 2.0",
        ("--tokens", "2k"): "steps, from --tokens, 4 in place of 16",
    }.items():
        answer = train(folder, "six", *words)
        assert answer.code == 2
        assert part in answer.err
        assert "or use another --out" in answer.err
        assert not re.search(r"digest|numerics|task\.", answer.err)


def test_temperatures_that_are_no_numbers_or_small(folder):
    assert train(folder, "nine").code == 0
    words = ("sample", folder / "nine", "--prompt", "the cat", "--tokens", 3)
    for temperature in ("nan", "inf", "-0.5"):
        answer = typed(*words, "--temperature", temperature)
        assert answer.code == 2
        assert f"--temperature {temperature}: expected a number of at least 0" in answer.err
    coldest = typed(*words, "--temperature", 0)
    for temperature in ("1e-45", "1e-300"):
        assert typed(*words, "--temperature", temperature) == coldest
    assert typed(*words, "--seed", 10**20).code == 0


def test_another_text_is_reported_without_its_digest(folder, tmp_path):
    path = tmp_path / "story.jsonl"
    path.write_text((folder / "story.jsonl").read_text())
    words = ("train-lm", "--text", path, "--out", tmp_path / "out", *SMALL)
    assert typed(*words).code == 0
    path.write_text(path.read_text() + '{"text": "one more"}\n')
    open_text.cache_clear()
    answer = typed(*words)
    assert answer.code == 2
    changed = "another content of --text, other tokens of --tokenizer"
    assert f"out holds a training with {changed}: give" in answer.err


def test_documents_joined_with_nothing_between(folder):
    joined = train(folder, "seven", "--no-end-of-text")
    assert "v280, nothing between documents;" in joined.err
    assert load_model(folder / "seven").max_len == 16
    sliced = typed(
        *("slice", "--text", folder / "story.jsonl@test", "--model", folder / "seven"),
        *("--train-text", folder / "story.jsonl@train", "--device", "cpu", "--json"),
    )
    settings = json.loads(sliced.out)["settings"]
    assert (settings["context"], settings["begins_with"]) == (16, {"seven": ""})


def test_a_folder_without_a_model(tmp_path):
    answer = typed("sample", tmp_path, "--prompt", "a")
    assert (answer.code, answer.out) == (2, "")
    assert "has no model" in answer.err
