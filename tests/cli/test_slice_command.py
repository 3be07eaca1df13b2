"""`recollect slice` against a count with dictionaries, one token at a time."""

import csv
import json
import math
import random
from collections import Counter

import matplotlib.image
import pytest
import torch
from tokenizers.processors import TemplateProcessing
from transformers import AutoModelForCausalLM, GPT2Config, GPT2LMHeadModel
from typed import typed

from recollect.language.corpus import part_of
from recollect.language.tokenizer_files import load_tokenizer, train_tokenizer

pytestmark = pytest.mark.slow

WORDS = ["ada", "bob", "eve", "saw", "the", "cat", "dog", "in", "a", "red", "hat", ".", "and"]
CONTEXT = 24


def story(seed: int, words: int) -> str:
    """A few names and things, told over and over."""
    chance = random.Random(seed)
    some = chance.sample(WORDS, 4)
    return " ".join(chance.choice(some) for _ in range(words))


TRAIN = [story(seed, 40) for seed in range(30)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Two models with one tokenizer, one with another, and texts."""
    made = tmp_path_factory.mktemp("slice")
    for seed, name in enumerate(["first", "second", "other"]):
        cutter = train_tokenizer(TRAIN, 265 if name == "other" else 290)
        config = GPT2Config(
            vocab_size=cutter.vocab_size,
            n_positions=32,
            n_embd=8,
            n_layer=1,
            n_head=1,
            bos_token_id=0,
            eos_token_id=0,
        )
        torch.manual_seed(seed)
        model = GPT2LMHeadModel(config)
        for parameter in model.parameters():
            parameter.data.add_(0.2 * torch.randn_like(parameter))
        model.save_pretrained(made / name)
        cutter.save(made / name / "tokenizer.json")
    write_lines(made / "train.jsonl", TRAIN)
    (made / "one.txt").write_text(story(100, 150))
    write_lines(made / "several.jsonl", [story(200 + i, 10 + 9 * i) for i in range(6)])
    return made


def write_lines(path, documents):
    path.write_text("".join(json.dumps({"text": each}) + "\n" for each in documents))


def documents_of(path):
    if path.suffix == ".txt":
        return [path.read_text()]
    return [json.loads(line)["text"] for line in path.read_text().splitlines()]


@torch.no_grad()
def by_hand(folder, text, bound, n=2):
    """Sums over tokens, one by one: {"hits" or "other": [tokens, loss of first, of second]}."""
    cutter = load_tokenizer(str(folder / "first" / "tokenizer.json"))
    seen = Counter()
    for document in TRAIN:
        (ids,) = cutter.encode([document])
        seen.update(tuple(ids[i : i + n]) for i in range(len(ids) - n + 1))
    models = [
        AutoModelForCausalLM.from_pretrained(folder / name).eval() for name in ("first", "second")
    ]
    sums = {"hits": [0, 0.0, 0.0], "other": [0, 0.0, 0.0]}
    for document in documents_of(folder / text):
        (ids,) = cutter.encode([document])
        for begin in range(0, len(ids) - 1, CONTEXT):
            window = ids[begin : begin + CONTEXT + 1]
            logs = [m(torch.tensor([window])).logits[0].log_softmax(-1) for m in models]
            earlier = {}
            for t in range(1, len(window)):
                ngram = tuple(window[t - n + 1 : t + 1]) if t >= n - 1 else None
                hit = ngram in earlier and seen[ngram] <= bound
                row = sums["hits" if hit else "other"]
                row[0] += 1
                for i, log in enumerate(logs):
                    row[1 + i] -= log[t - 1, window[t]].item()
                earlier[ngram] = t
                earlier.pop(None, None)
    return sums


def run(folder, text, *more):
    words = ["--text", folder / text, "--train-text", folder / "train.jsonl"]
    words += ["--model", folder / "first", "--model", folder / "second", "--device", "cpu"]
    words += ["--context", CONTEXT, "--keep", folder / "kept"]
    return typed("slice", *words, *more)


@pytest.mark.parametrize("text", ["one.txt", "several.jsonl"])
@pytest.mark.parametrize("n", [2, 3])
def test_the_numbers_are_those_of_a_count_by_hand(folder, text, n):
    bounds = (0, 3, 12, 10**6)
    chosen = [word for bound in bounds for word in ("--max-train-count", bound)]
    answer = run(folder, text, "--n", n, *chosen, "--json")
    assert answer.code == 0, answer.err
    rows = json.loads(answer.out)["gap"]
    assert [row["max_train_count"] for row in rows] == [b for b in bounds for _ in range(2)]
    shares = set()
    for bound in bounds:
        sums = by_hand(folder, text, bound, n)
        tokens = sums["hits"][0] + sums["other"][0]
        gaps = [sums[kind][2] - sums[kind][1] for kind in ("hits", "other")]
        for i, row in enumerate(row for row in rows if row["max_train_count"] == bound):
            assert row["model"] == ("first", "second")[i]
            assert row["tokens"] == tokens
            assert row["hit_share"] == pytest.approx(sums["hits"][0] / tokens)
            shares.add(row["hit_share"])
            whole = (sums["hits"][1 + i] + sums["other"][1 + i]) / tokens
            assert row["log_perplexity"] == pytest.approx(whole, rel=1e-5)
            for kind in ("hits", "other"):
                count, *losses = sums[kind]
                found = row[f"log_perplexity_{kind}"]
                if count == 0:
                    assert found is None
                else:
                    assert found == pytest.approx(losses[i] / count, rel=1e-5)
                    perplexity = row[f"perplexity_{kind}"]
                    assert perplexity == pytest.approx(math.exp(losses[i] / count), rel=1e-4)
        assert row["gap"] == pytest.approx(sum(gaps) / tokens, rel=1e-3, abs=1e-5)
        if sums["hits"][0] == 0:
            assert row["gap_hits"] is None
        else:
            on_hits = gaps[0] / sums["hits"][0]
            assert row["gap_hits"] == pytest.approx(on_hits, rel=1e-3, abs=1e-5)
        if row["gap_low"] is not None and row["gap_low"] > 0:
            assert row["gap_share"] == pytest.approx(gaps[0] / sum(gaps), rel=1e-3)
        else:
            assert row["gap_share"] is None
    assert len(shares) > 2, "the thresholds make a difference"


def test_tables_figures_and_what_is_printed(folder, tmp_path):
    out = tmp_path / "new" / "out"
    answer = run(folder, "several.jsonl", "--out", out)
    assert answer.code == 0, answer.err
    for part in ("gap due to AR hits", "1,250", "second", "context=24", "any"):
        assert part in answer.out
    names = {"gap.csv", "curve.csv", "slices.csv"}
    drawn = ("train-count", "distance", "curve")
    names |= {f"{name}.{form}" for name in drawn for form in ("pdf", "png")}
    assert {path.name for path in out.iterdir()} == names
    with (out / "gap.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [(row["model"], row["max_train_count"]) for row in rows] == [
        (model, bound) for bound in ("1250", "10") for model in ("first", "second")
    ]
    with (out / "curve.csv").open() as file:
        curve = list(csv.DictReader(file))
    shares = [float(row["hit_share"]) for row in curve if row["model"] == "first"]
    assert shares == sorted(shares)
    assert (curve[0]["max_train_count"], curve[-1]["max_train_count"]) == ("0", "")
    assert [row for row in curve if row["max_train_count"] in ("10", "1250")] == [
        *rows[2:],
        *rows[:2],
    ]
    assert all(
        float(row["perplexity_low"]) <= float(row["perplexity"]) <= float(row["perplexity_high"])
        for row in rows
    )
    with (out / "slices.csv").open() as file:
        slices = list(csv.DictReader(file))
    of_all = [row for row in slices if row["by"] == "position" and row["model"] == "first"]
    assert sum(int(row["tokens"]) for row in of_all) == int(rows[0]["tokens"])
    assert {row["max_train_count"] for row in slices if row["by"] == "train_count"} == {""}
    assert {row["max_train_count"] for row in of_all} == {"1250"}
    for name in drawn:
        assert matplotlib.image.imread(out / f"{name}.png")[..., :3].std() > 0.05


def test_how_the_texts_were_read_is_reported(folder, tmp_path):
    """Under whatever name, rows give the numbers of rows; what is not read is counted."""
    rows = (folder / "several.jsonl").read_text()
    shards = tmp_path / "shards"
    shards.mkdir()
    (shards / "a.ndjson").write_text('{"text": null}\n' + rows)
    (shards / "b.bin").write_bytes(b"\0\1" * 100)
    expected = json.loads(run(folder, "several.jsonl", "--json").out)
    answer = run(folder, shards, "--json")
    assert answer.code == 0, answer.err
    found = json.loads(answer.out)
    assert found["gap"] == expected["gap"]
    assert found["curve"] == expected["curve"]
    assert answer.err.splitlines() == [
        f"{folder / 'train.jsonl'}: 30 documents (JSON lines)",
        f"{shards}: 6 documents (JSON lines); 1 row without a text left out; skipped 1 file:"
        " binary: 1 (b.bin)",
    ]
    counts = {"files_skipped": 1, "rows_left_out": 1}
    counts |= {"train_files_skipped": 0, "train_rows_left_out": 0}
    assert counts.items() <= found["settings"].items()
    printed = run(folder, shards).out
    assert all(f"{name}={count}" in printed for name, count in counts.items())


def test_documents_that_are_in_the_training_text_are_reported(folder, tmp_path):
    """Their n-grams are among those that are counted, in whatever file they are."""
    both = tmp_path / "both"
    both.mkdir()
    write_lines(tmp_path / "some.jsonl", [*TRAIN[3:5], story(300, 40), TRAIN[3], "", " "])
    write_lines(tmp_path / "train.jsonl", [*TRAIN, "", " "])
    for name in ("train.jsonl", "several.jsonl"):
        (both / name).write_text((folder / name).read_text())
    trained = sum(part_of(text) == "train" for text in TRAIN)
    for text, train_text, shared in (
        ("train.jsonl", "train.jsonl", 30),
        ("train.jsonl@train", "train.jsonl", trained),
        (both / "several.jsonl", both, 6),
        (tmp_path / "some.jsonl", tmp_path / "train.jsonl", 3),
        ("train.jsonl@test", "train.jsonl@train", 0),
        ("several.jsonl", "train.jsonl", 0),
    ):
        words = ["--train-text", folder / train_text, "--json"]
        answer = run(folder, text, *words)
        assert answer.code == 0, answer.err
        settings = json.loads(answer.out)["settings"]
        assert settings["documents_in_train_text"] == shared
        assert settings["text_in_train_text"] is (shared > 0)
        assert ("--text TEXT@test and --train-text TEXT@train" in answer.err) is (shared > 0)
        assert (f"in the training text too: {shared}." in answer.err) is (shared > 0)


def test_bos_is_printed_and_a_model_that_is_ahead_has_no_gap(folder, tmp_path):
    """The model with the lower perplexity is not behind the other, nor surely ahead of it."""
    for name in ("first", "second"):
        (tmp_path / name).mkdir()
        for path in (folder / name).iterdir():
            (tmp_path / name / path.name).symlink_to(path)
    backend = load_tokenizer(str(folder / "second")).backend
    letter = [("t", backend.token_to_id("t"))]
    backend.post_processor = TemplateProcessing(single="t $A", special_tokens=letter)
    (tmp_path / "second" / "tokenizer.json").unlink()
    backend.save(str(tmp_path / "second" / "tokenizer.json"))
    for name in ("several.jsonl", "train.jsonl"):
        (tmp_path / name).symlink_to(folder / name)
    rows = json.loads(run(tmp_path, "several.jsonl", "--json").out)
    assert rows["settings"]["begins_with"] == {"first": "", "second": "t"}
    perplexities = {row["model"]: row["perplexity"] for row in rows["gap"]}
    better, worse = sorted(perplexities, key=perplexities.get)
    words = ["--model", tmp_path / worse, "--model", tmp_path / better, "--device", "cpu"]
    words += ["--text", tmp_path / "several.jsonl", "--train-text", tmp_path / "train.jsonl"]
    words += ["--keep", tmp_path / "kept"]
    row = json.loads(typed("slice", *words, "--json").out)["gap"][1]
    answer = typed("slice", *words)
    assert answer.code == 0, answer.err
    assert row["gap"] < 0 < row["gap_high"]
    assert f"gap not certain: {row['gap']:.2g} ({row['gap_low']:.2g} to " in answer.out
    tokens = {"first": "none", "second": "t"}
    before = f"{worse}: {tokens[worse]}, {better}: {tokens[better]}"
    assert f"control token before each context: {before}" in answer.out


def test_a_second_question_needs_no_model(folder, tmp_path):
    """Losses are kept: another bound, another n, and no forward pass."""
    for path in folder.iterdir():
        if path.name != "kept":
            (tmp_path / path.name).symlink_to(path)
    assert run(tmp_path, "one.txt").code == 0
    kept = tmp_path / "kept"
    made = {path.name: path.stat().st_mtime_ns for path in kept.iterdir()}
    assert {name.partition("-")[0] for name in made} == {"counts", "losses", "shared", "tokens"}
    answer = run(tmp_path, "one.txt", "--max-train-count", 2, "--n", 3, "--json")
    assert answer.code == 0
    after = {path.name: path.stat().st_mtime_ns for path in kept.iterdir()}
    assert made.items() <= after.items()
    assert {name.partition("-")[0] for name in after.keys() - made.keys()} == {"counts"}


@pytest.mark.parametrize(
    ("words", "parts"),
    [
        (["--model", "other"], ["first", "other", "different tokenizers"]),
        (["--model", "missing/model"], ["missing/model is not a local folder", "network"]),
        (["--model", "first"], ["first is given twice"]),
        (["--text", "missing.txt"], ["no text missing.txt"]),
        (["--text", "empty.txt"], ["empty.txt is empty"]),
        (["--text", "latin.txt"], ["latin.txt is not UTF-8"]),
        (["--text", "short.txt@valid"], ["short.txt@valid has no document: each goes to"]),
        (["--text", "short.txt"], ["short.txt has no document of at least two tokens"]),
        (["--context", 33], ["--context 33", "first reads at most 32"]),
        (["--stride", 25], ["--stride 25", "--context 24"]),
        (["--n", 12], ["--n 12", "from 1 to 7"]),
        (["--device", "abacus"], ["'abacus'"]),
        (["--keep", "one.txt/kept"], ["one.txt is not a folder"]),
        (["--out", "one.txt"], ["one.txt is not a folder"]),
        (["--text", "."], ["kept lies in the folder ., which is read as a text"]),
    ],
)
def test_wrong_input(folder, words, parts, monkeypatch):
    monkeypatch.chdir(folder)
    (folder / "empty.txt").touch()
    (folder / "latin.txt").write_bytes("Käfer".encode("latin-1"))
    (folder / "short.txt").write_text("a")
    asked = {"--text": "one.txt", "--train-text": "train.jsonl", "--context": CONTEXT}
    asked |= {"--keep": "kept"} | {words[0]: words[1]}
    models = ["--model", "first"] + ([] if words[0] == "--model" else ["--model", "second"])
    answer = typed("slice", *models, *(word for pair in asked.items() for word in pair))
    assert (answer.code, answer.out) == (2, "")
    *read, last = answer.err.strip().splitlines()
    assert all(" document" in line for line in read), "how a text was read, and one message"
    for part in parts:
        assert part in last
