"""`recollect probe` on models in folders, against a count by hand."""

import csv
import json
import re

import matplotlib.image
import pytest
import torch
from tokenizers import Tokenizer
from tokenizers.decoders import Fuse
from tokenizers.models import BPE, WordLevel
from tokenizers.normalizers import Lowercase
from tokenizers.pre_tokenizers import BertPreTokenizer
from tokenizers.processors import BertProcessing
from transformers import GPT2Config, GPT2LMHeadModel
from typed import typed

from recollect.cli.slice import FIGURES
from recollect.language.model_folder import save_model
from recollect.language.probe import Sampling
from recollect.language.prompts import Copying, Recall
from recollect.language.tokenizer_files import load_tokenizer, train_tokenizer
from recollect.language.words import COMMON, words_of
from recollect.models.config import ModelConfig
from recollect.models.language_model import LanguageModel

pytestmark = pytest.mark.slow

WORDS = [f"{a}{b}n" for a in ("ba", "de", "fi", "go", "lu", "ma") for b in ("ta", "ke", "ri", "po")]
SAID = "goken"
LONGEST = 150
SMALL = ["--pairs", "2,6", "--distance", "0,9", "--copy-lengths", "3,6", "--shots", 1]
SMALL += ["--examples", 30, "--device", "cpu"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A GPT-2 that always says the same word, one with random weights, and a model of ours."""
    made = tmp_path_factory.mktemp("probe")
    lines = [f"- {word}: {word}" for word in WORDS] * 3
    cutter = train_tokenizer(
        [*lines, *["Pairs:\nQuestions:\nOther words: Words: Again:"] * 9], 2000
    )
    size = {"vocab_size": cutter.vocab_size, "n_positions": LONGEST, "n_embd": 16}
    config = GPT2Config(**size, n_layer=1, n_head=2, bos_token_id=0, eos_token_id=0)
    torch.manual_seed(0)
    for name in ("random", "stubborn"):
        model = GPT2LMHeadModel(config)
        if name == "stubborn":
            (said,) = cutter.encode([f" {SAID}"])[0]
            model.transformer.ln_f.weight.data.zero_()
            direction = model.transformer.wte.weight.data[said]
            direction.mul_(10)
            model.transformer.ln_f.bias.data.copy_(direction)
        model.save_pretrained(made / name)
        cutter.save(made / name / "tokenizer.json")
    ours = LanguageModel(
        ModelConfig(mixer="attention", d_model=16, n_layers=1),
        vocab_size=cutter.vocab_size,
        max_len=LONGEST,
        seed=0,
    )
    save_model(ours, cutter, made / "ours")
    config.n_positions = 1000
    GPT2LMHeadModel(config).save_pretrained(made / "long")
    cutter.save(made / "long" / "tokenizer.json")
    return made


def by_hand(folder, question):
    """Right answers of the model that always says the same, prompt by prompt; and all answers."""
    words = words_of(load_tokenizer(str(folder / "stubborn")))
    right = []
    for prompt in Sampling(examples=30, shots=1).prompts(question, words):
        *_, asked = re.findall(r"(?:Questions|Again):(.*?)\n\n", prompt.text, re.DOTALL)
        answers = [word for word in asked.split() if word not in ("-",) and ":" not in word]
        right.append(answers.count(SAID))
    return right, 30 * len(answers)


def test_the_numbers_are_those_of_a_count_by_hand(folder):
    answer = typed("probe", folder / "stubborn", *SMALL, "--json")
    assert answer.code == 0, answer.err
    printed = json.loads(answer.out)
    assert printed["settings"] | {"words": 0} == {
        "model": str(folder / "stubborn"),
        "words": 0,
        "tokens_a_word": 1,
        "begins_with": "",
        "leaves_out": "",
        "lost": [],
        "examples": 30,
        "shots": 1,
        "seed": 0,
    }
    cells = [(row["pairs"], row["distance"]) for row in printed["mqar"]]
    assert cells == [(2, 0), (2, 9), (6, 0), (6, 9)]
    for row in printed["mqar"]:
        right, total = by_hand(folder, Recall(pairs=row["pairs"], distance=row["distance"]))
        assert row["accuracy"] == pytest.approx(sum(right) / total)
        assert row["answers"] == total
    for row in printed["copy"]:
        right, total = by_hand(folder, Copying(words=row["words"]))
        assert row["accuracy"] == pytest.approx(sum(right) / total)
        assert row["strings"] == 0
    assert any(row["accuracy"] > 0 for row in printed["mqar"])
    assert any(row["accuracy"] > 0 for row in printed["copy"])
    assert sum(row["answers"] for row in printed["distance"]) == 2 * 30 * (1 + 2)


def test_tables_figures_and_what_is_printed(folder, tmp_path):
    out = tmp_path / "new" / "out"
    answer = typed("probe", folder / "random", *SMALL, "--examples", 3, "--out", out)
    assert answer.code == 0, answer.err
    for part in (
        "begins_with=none",
        "lost=none",
        "words between",
        "distance to the pair (tokens)",
        "per string",
        "teacher forcing",
    ):
        assert part in answer.out
    tables = ("recall-by-pairs", "recall-by-distance", "recall-by-length")
    names = {f"{table}.{form}" for table in tables for form in ("csv", "pdf", "png")}
    assert {path.name for path in out.iterdir()} == names
    assert not {*tables} & FIGURES.keys(), "`slice` may write to the same folder"
    for table in tables:
        with (out / f"{table}.csv").open() as file:
            rows = list(csv.DictReader(file))
        assert all(float(row["accuracy_low"]) <= float(row["accuracy"]) for row in rows)
        assert matplotlib.image.imread(out / f"{table}.png")[..., :3].std() > 0.05


def test_tasks_that_are_named(folder, tmp_path):
    words = [
        "probe",
        folder / "long",
        "--examples",
        2,
        "--device",
        "cpu",
        "--repeat-lengths",
        "3,5",
    ]
    words += ["--entries", 4, "--filler", "20,30", "--tasks", "mk-niah-2,phonebook,repetition"]
    answer = typed(*words, "--out", tmp_path)
    assert answer.code == 0, answer.err
    for part in (
        "score, nats per word",
        "entries of the phone book",
        "words of filler",
        "mk-niah-2",
    ):
        assert part in answer.out
    assert "text=" not in answer.out
    tables = ("repetition-by-length", "recall-by-entries", "recall-by-filler")
    names = {f"{table}.{form}" for table in tables for form in ("csv", "pdf", "png")}
    assert {path.name for path in tmp_path.iterdir()} == names
    assert not {*tables} & FIGURES.keys(), "`slice` may write to the same folder"
    printed = json.loads(typed(*words, "--json").out)
    assert [*printed] == ["settings", "repetition", "phonebook", "needles"]
    assert [row["length"] for row in printed["repetition"]] == [3, 5]
    assert [(row["kind"], row["filler"]) for row in printed["needles"]] == [
        ("mk-niah-2", 20),
        ("mk-niah-2", 30),
    ]
    assert [row["chance"] for row in printed["needles"]] == [1 / 3, 1 / 4]


def test_needles_in_a_text_of_the_user(folder, tmp_path):
    (tmp_path / "mine.txt").write_text("It  was so. " * 10)
    words = ["probe", folder / "long", "--filler", 30, "--text", tmp_path / "mine.txt"]
    printed = json.loads(typed(*words, "--tasks", "all", "--show", "--json").out)
    assert [*printed][:5] == ["mqar", "copy", "repetition", "phonebook", "s-niah-1"]
    assert printed["s-niah-2"].split("\n")[1].count("It was so.") == 10
    assert "It was so." not in printed["s-niah-1"]
    words += ["--tasks", "s-niah-2", "--examples", 1, "--device", "cpu", "--json"]
    answer = typed(*words)
    assert json.loads(answer.out)["settings"]["text"] == str(tmp_path / "mine.txt")
    assert answer.err.splitlines() == [f"{tmp_path / 'mine.txt'}: 1 document (plain text)"]
    short = typed(*words, "--filler", 31)
    assert (short.code, short.out) == (2, "")
    assert "mine.txt has 30 words, but --filler 31 needs as many" in short.err


def test_what_is_lost_of_the_longest_text_is_reported(tmp_path):
    """The tokenizer does not know the letters of the second half of the text."""
    known = ["[UNK]", "\n", *map(chr, range(32, 127))]
    size = {"vocab_size": len(known), "n_positions": 2000, "n_embd": 16, "n_layer": 1, "n_head": 2}
    model = GPT2LMHeadModel(GPT2Config(**size, bos_token_id=0, eos_token_id=0))
    model.save_pretrained(tmp_path / "model")
    vocabulary = {token: i for i, token in enumerate(known)}
    backend = Tokenizer(BPE(vocab=vocabulary, merges=[], unk_token="[UNK]"))
    backend.decoder = Fuse()
    backend.save(str(tmp_path / "model" / "tokenizer.json"))
    (tmp_path / "mine.txt").write_text("So it is. " * 7 + "Ü " * 20, encoding="utf-8")
    words = ["probe", tmp_path / "model", "--tasks", "s-niah-2", "--text", tmp_path / "mine.txt"]
    words += ["--examples", 1, "--device", "cpu", "--json", "--filler"]
    for filler, lost in (("21", False), ("21,41", True)):
        found = json.loads(typed(*words, filler).out)["settings"]["lost"]
        assert any("'Ü'" in each for each in found) is lost


def test_a_model_of_ours(folder):
    answer = typed("probe", folder / "ours", *SMALL, "--examples", 3, "--json")
    assert answer.code == 0, answer.err
    printed = json.loads(answer.out)
    assert [len(printed[name]) for name in ("mqar", "copy")] == [4, 2]


@pytest.mark.parametrize(
    ("kind", "tokens", "lost"),
    [
        ("bytes", 4, []),
        ("pieces", 1, ["line ends", "capital letters"]),
    ],
)
def test_other_tokenizers_are_asked_and_what_is_not_as_usual_is_reported(
    kind, tokens, lost, tmp_path
):
    cutter = train_tokenizer([], 256).backend if kind == "bytes" else pieces()
    size = {"vocab_size": 256, "n_positions": 400, "n_embd": 16, "n_layer": 1, "n_head": 2}
    GPT2LMHeadModel(GPT2Config(**size, bos_token_id=0, eos_token_id=0)).save_pretrained(tmp_path)
    cutter.save(str(tmp_path / "tokenizer.json"))
    words = ["probe", tmp_path, "--pairs", "2", "--distance", "0,2", "--copy-lengths", "3"]
    words += ["--examples", 2, "--shots", 1, "--device", "cpu"]
    printed = json.loads(typed(*words, "--json").out)
    assert printed["settings"]["tokens_a_word"] == tokens
    assert printed["settings"]["lost"] == lost
    ends = {"begins_with": "[CLS]", "leaves_out": "[SEP]"} if kind == "pieces" else {}
    assert ends.items() <= printed["settings"].items()
    for answer in (typed(*words), typed(*words, "--show")):
        assert ("Words have 4 tokens each" in answer.out) == (kind == "bytes")
        assert ("loses line ends and capital letters" in answer.out) == (kind == "pieces")
        assert ("[SEP], which the tokenizer adds" in answer.out) == (kind == "pieces")


def pieces():
    """As BERT's, with its template."""
    vocabulary = ["[UNK]", "[CLS]", "[SEP]", "-", ":", "pairs", "questions", "other", "words"]
    vocabulary += ["again", *COMMON.split()[:60]]
    backend = Tokenizer(WordLevel({word: i for i, word in enumerate(vocabulary)}, "[UNK]"))
    backend.normalizer, backend.pre_tokenizer = Lowercase(), BertPreTokenizer()
    backend.post_processor = BertProcessing(("[SEP]", 2), ("[CLS]", 1))
    return backend


def test_the_seed_decides(folder):
    some = ["probe", folder / "stubborn", *SMALL, "--json", "--examples", 10, "--seed"]
    first, again, other = (typed(*some, seed).out for seed in (1, 1, 2))
    assert first == again
    assert json.loads(first)["mqar"] != json.loads(other)["mqar"]


def test_an_example_is_shown_without_the_weights(folder, tmp_path):
    for path in (folder / "random").iterdir():
        if path.suffix != ".safetensors":
            (tmp_path / path.name).symlink_to(path)
    answer = typed("probe", tmp_path, *SMALL, "--show")
    assert answer.code == 0, answer.err
    words = words_of(load_tokenizer(str(tmp_path)))
    for question in (Recall(pairs=2), Copying(words=3)):
        (prompt,) = Sampling(examples=1, shots=1).prompts(question, words)
        assert prompt.text in answer.out
    printed = json.loads(typed("probe", tmp_path, *SMALL, "--show", "--json").out)
    assert list(printed) == ["mqar", "copy"]
    assert printed["copy"] in answer.out


@pytest.mark.parametrize(
    ("words", "parts"),
    [
        (["--pairs", "0"], ["Error: --pairs 0", "greater than 0"]),
        (["--pairs", "2,many"], ["--pairs=2,many", "whole numbers"]),
        (["--pairs", ""], ["--pairs is empty"]),
        (["--pairs", "999"], ["--pairs 999, --distance 9, --shots 1", "needs 2,003"]),
        (["--distance", "-1"], ["Error: --distance -1"]),
        (["--distance", "500"], ["--pairs 2, --distance 500", "random reads at most 150 tokens"]),
        (["--copy-lengths", "0"], ["Error: --copy-lengths 0"]),
        (["--copy-lengths", "9999"], ["Error: --copy-lengths 9999, --shots 1: needs 10,003"]),
        (["--tasks", "copy,nothing"], ["unknown task 'nothing'", "phonebook"]),
        (["--tasks", ","], ["--tasks is empty"]),
        (["--text", "a.txt"], ["--text a.txt is only used by s-niah-2, s-niah-3, mk-niah-1"]),
        (["--tasks", "phonebook", "--entries", "1"], ["--entries 1: expected more than the 1"]),
        (
            ["--tasks", "s-niah-1", "--filler", "20"],
            ["--tasks s-niah-1, --filler 20: such a", "random reads at most 150 tokens"],
        ),
        (["--tasks", "repetition", "--repeat-lengths", "1"], ["Error: --repeat-lengths 1"]),
        (["--device", "abacus"], ["'abacus'"]),
        (["--out", "random/config.json"], ["is not a folder"]),
    ],
)
def test_wrong_input(folder, words, parts, monkeypatch):
    monkeypatch.chdir(folder)
    answer = typed("probe", "random", *SMALL, *words)
    assert (answer.code, answer.out) == (2, "")
    assert len(answer.err.strip().splitlines()) == 1
    for part in parts:
        assert part in answer.err


def test_no_model(tmp_path):
    answer = typed("probe", "missing/model")
    assert (answer.code, answer.out) == (2, "")
    assert "missing/model is not a local folder" in answer.err
