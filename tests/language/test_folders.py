"""Folders of texts: what is read, what is skipped, and what is refused."""

import json
import re
import zipfile

import numpy as np
import pandas as pd
import pytest

from recollect.errors import UserError
from recollect.language.sources import open_corpus


def fill(folder, files):
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return folder


def read(folder):
    found = open_corpus(str(folder))
    return [document.text for document in found.documents()], found.reading


def lines(*texts):
    return "".join(json.dumps({"text": text}) + "\n" for text in texts)


TOKENS = np.arange(400, dtype=np.uint16).tobytes()


def test_what_is_no_text_is_skipped_and_reported(tmp_path):
    files = {
        "a.txt": "first",
        "b/train.bin": TOKENS,
        "b/valid.bin": TOKENS,
        "empty.txt": "",
        "latin.txt": "Käfer".encode("latin-1"),
        "log.jsonl": '\n{"step": 1}\n{"step": 2}\n',
        "numbers.jsonl": "[1, 2]\n",
        "windows.txt": "text".encode("utf-16-le"),
        "marked.txt": "text".encode("utf-16"),
        "nul_at_the_end.txt": "x" * 10**5 + "\0",
        "table.csv": "id,text\n0,a\n",
    }
    fill(tmp_path, files)
    pd.DataFrame({"words": ["a"]}).to_parquet(tmp_path / "other.parquet")
    pd.DataFrame({"text": [1]}).to_parquet(tmp_path / "numbers.parquet")
    with zipfile.ZipFile(tmp_path / "more.zip", "w") as archive:
        archive.writestr("a.txt", "zipped")
    (tmp_path / "gone.txt").symlink_to(tmp_path / "nowhere")
    (tmp_path / "linked").symlink_to(tmp_path / "b")
    texts, reading = read(tmp_path)
    assert texts == ["first"]
    reasons = {each.name: each.reason for each in reading.skipped}
    assert reasons == {
        "b/train.bin": "binary",
        "b/valid.bin": "binary",
        "empty.txt": "empty",
        "gone.txt": "broken link",
        "latin.txt": "not UTF-8",
        "linked": "link to a folder",
        "log.jsonl": "no text in any row",
        "marked.txt": "UTF-16 or UTF-32",
        "more.zip": "binary",
        "nul_at_the_end.txt": "binary",
        "numbers.jsonl": "not valid JSON",
        "numbers.parquet": "no column of strings",
        "other.parquet": "no column of strings",
        "table.csv": "table",
        "windows.txt": "binary",
    }
    summary = str(reading)
    assert summary.startswith("1 document (plain text); skipped 15 files: ")
    assert "binary: 5 (b/train.bin, b/valid.bin, more.zip, ...), empty: 1 (empty.txt)" in summary


@pytest.mark.parametrize("row", ['{"text": null}', '{"id": 1}'])
def test_a_shard_is_read_whatever_its_first_row(tmp_path, row):
    fill(tmp_path, {"a.jsonl": lines("one"), "b.ndjson": f"{row}\n{lines('two')}", "c.txt": "3"})
    pd.DataFrame({"text": [None, "four"]}).to_parquet(tmp_path / "d.parquet")
    texts, reading = read(tmp_path)
    assert texts == ["one", "two", "3", "four"]
    assert reading.left_out == 2
    assert str(reading) == (
        "4 documents (JSON lines 2, Parquet 1, plain text 1) in 4 files; 2 rows without a text"
        " left out"
    )


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("b.jsonl", lines("second") + '{"text": "thi'),
        ("b.jsonl", lines("second").encode() + b"\xff"),
        ("b.txt", lines("second", "third") + "no row"),
        ("b.json", json.dumps([{"text": "a"}, {"text": "b"}])[:-4]),
        ("b.parquet", b"PAR1 and more"),
        ("b.jsonl.gz", b"\x1f\x8b\x08 and more"),
    ],
)
def test_a_shard_that_breaks_off_is_not_skipped(tmp_path, name, content):
    fill(tmp_path, {"a.jsonl": lines("first"), name: content})
    with pytest.raises(UserError, match=name.replace(".", r"\.")):
        open_corpus(str(tmp_path))


@pytest.mark.parametrize(
    ("files", "reason"),
    [
        (
            {"README.md": "# Tokens", "train.bin": TOKENS},
            "no text but README.md; skipped: binary: 1 (train.bin)",
        ),
        (
            {"readme.txt": "x", "LICENSE-MIT": "free", "a/b.bin": TOKENS, "b.npy": TOKENS},
            "no text but LICENSE-MIT, readme.txt; skipped: binary: 2 (a/b.bin, b.npy)",
        ),
        (
            {"a.arrow": b"ARROW1" + TOKENS, "dataset_info.json": "{}", "state.json": "{}"},
            "no text but dataset_info.json, state.json; skipped: binary: 1 (a.arrow)",
        ),
        ({"README": "about", "NOTICE": "as is", "x.txt": ""}, "no text but NOTICE, README; skip"),
        ({"README.md": "nothing beside it"}, "no text but README.md; name a file itself"),
        (
            {"data-card.md": "1,000 shards", "a.arrow": b"ARROW1" + TOKENS},
            "no text but data-card.md; skipped: binary: 1 (a.arrow)",
        ),
    ],
)
def test_a_folder_with_nothing_but_words_about_it(tmp_path, files, reason):
    fill(tmp_path, files)
    with pytest.raises(UserError, match=re.escape(f"the folder {tmp_path} has {reason}")):
        open_corpus(str(tmp_path))


@pytest.mark.parametrize(
    "files",
    [
        {"README.md": "about", "a.txt": "a text"},
        {"readers.txt": "not about it"},
        {"notes.md": "a text", "figure.png": b"\x89PNG\0" * 10**6},
        {"metadata.jsonl": lines("a caption"), "photo.jpg": b"\xff\xd8\0" * 2**20},
    ],
)
def test_a_folder_with_a_text_beside_other_files(tmp_path, files):
    texts, _ = read(fill(tmp_path, files))
    assert len(texts) == sum(isinstance(content, str) for content in files.values())


@pytest.mark.parametrize(
    "name",
    [
        "state-of-the-union-1990.txt",
        "card_000.txt",
        "notice-0.txt",
        "about love.txt",
        "license plates.md",
        "README-2.txt",
    ],
)
def test_a_text_whose_name_begins_like_another(tmp_path, name):
    assert read(fill(tmp_path, {name: "a text"}))[0] == ["a text"]


@pytest.mark.parametrize(
    "name",
    [
        *("README", "README.md", "README_zh.md", "readme.pt-BR.rst", "LICENSE-MIT", "LICENSE.txt"),
        *("LICENSE-APACHE-2.0", "COPYING.LESSER", "dataset_info.json", "state.json", "SHA256SUMS"),
    ],
)
def test_a_file_about_others(tmp_path, name):
    with pytest.raises(UserError, match=f"no text but {name}"):
        read(fill(tmp_path, {name: "about"}))


def test_what_is_hidden_is_reported(tmp_path):
    files = dict.fromkeys(("a.txt", ".notes.txt", "b/.c.jsonl", ".git/x", ".git/y/z"), "text")
    texts, reading = read(fill(tmp_path, files))
    assert texts == ["text"]
    skipped = "skipped 3 files: hidden: 3 (.git, .notes.txt, b/.c.jsonl)"
    assert str(reading) == f"1 document (plain text); {skipped}"
    fill(tmp_path / "all", {".a.txt": "text"})
    with pytest.raises(UserError, match=r"has no text: .*skipped: hidden: 1 \(\.a\.txt\)"):
        open_corpus(str(tmp_path / "all"))


def test_a_readme_is_a_text_where_it_is_named(tmp_path):
    fill(tmp_path, {"README.md": "# Tokens"})
    assert read(tmp_path / "README.md")[0] == ["# Tokens"]


def test_what_a_folder_has_when_nothing_in_it_is_read(tmp_path):
    fill(tmp_path, {"a.bin": TOKENS, "b.txt": ""})
    with pytest.raises(UserError, match=r"has no text: .* skipped: binary: 1 \(a\.bin\), empty: 1"):
        open_corpus(str(tmp_path))


def test_other_names_give_the_folder_another_digest_only_if_another_text(tmp_path):
    one = fill(tmp_path / "one", {"a.jsonl": lines("x", "y"), "b.bin": TOKENS})
    two = fill(tmp_path / "two", {"a.ndjson": lines("x", "y")})
    three = fill(tmp_path / "three", {"a.py": lines("x", "y")})
    digests = [open_corpus(str(folder)).digest for folder in (one, two, three)]
    assert digests[0] == digests[1] != digests[2]
