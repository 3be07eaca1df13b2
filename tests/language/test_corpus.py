"""Texts from files, folders and this Python; their parts."""

import hashlib
import json
import os
import sys
from pathlib import Path
from pydoc_data import topics
from types import SimpleNamespace

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from small_texts import corpus, texts

from recollect.errors import UserError
from recollect.language.corpus import part_of
from recollect.language.sources import check_outside, open_corpus

DOCUMENTS = ["the cat sat", "ein Käfer\nlief fort", "", "猫が座った"]


def read(name) -> list[str]:
    found = open_corpus(str(name))
    documents = list(found.documents())
    assert documents == list(found.documents()), "a text is read as often as one likes"
    assert all(document.number < found.numbers for document in documents)
    return [document.text for document in documents]


def write_lines(path, documents=DOCUMENTS):
    rows = [json.dumps({"id": 7, "text": text}) for text in documents]
    path.write_text("\n".join([*rows, ""]), encoding="utf-8")
    return path


def test_a_plain_file_is_one_document(tmp_path):
    path = tmp_path / "a.txt"
    path.write_bytes("\N{ZERO WIDTH NO-BREAK SPACE}one\r\n\r\ntwo ü\n".encode())
    assert read(path) == ["one\r\n\r\ntwo ü\n"]


@pytest.mark.parametrize("read_before", [False, True])
def test_a_file_that_changes_after_it_was_opened_is_refused(tmp_path, read_before):
    path = write_lines(tmp_path / "a.jsonl")
    documents = open_corpus(str(path)).documents()
    if read_before:
        next(documents)
    write_lines(path, [*DOCUMENTS, "more"])
    with pytest.raises(UserError, match=r"a\.jsonl has changed since this process opened it"):
        list(documents)


def test_a_file_that_is_written_again_with_the_same_content_is_read(tmp_path):
    path = write_lines(tmp_path / "a.jsonl")
    found = open_corpus(str(path))
    os.utime(path, ns=(0, 0))
    assert [document.text for document in found.documents()] == DOCUMENTS


def test_json_lines_and_parquet_have_a_document_in_each_row(tmp_path):
    assert read(write_lines(tmp_path / "a.jsonl")) == DOCUMENTS
    path = tmp_path / "a.parquet"
    pd.DataFrame({"text": [*DOCUMENTS[:3], None], "id": range(4)}).to_parquet(path)
    assert read(path) == DOCUMENTS[:3]


def test_a_folder_is_read_in_the_order_of_its_names(tmp_path):
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "c.md").write_text("third")
    (tmp_path / "a.txt").write_text("first")
    write_lines(tmp_path / "aa.jsonl", ["second"])
    for hidden in (tmp_path / ".git", tmp_path / "b" / ".cache"):
        hidden.mkdir()
        (hidden / "note.txt").write_text("hidden")
    (tmp_path / "empty.txt").touch()
    (tmp_path / "latin.txt").write_bytes("Käfer".encode("latin-1"))
    assert read(tmp_path) == ["first", "second", "third"]
    skipped = {each.name: each.reason for each in open_corpus(str(tmp_path)).reading.skipped}
    hidden = {".git": "hidden", "b/.cache": "hidden"}
    assert skipped == hidden | {"empty.txt": "empty", "latin.txt": "not UTF-8"}


def test_a_byte_order_mark_is_no_text(tmp_path):
    path = write_lines(tmp_path / "a.jsonl")
    path.write_bytes("\N{ZERO WIDTH NO-BREAK SPACE}".encode() + path.read_bytes())
    assert read(path) == DOCUMENTS


def test_what_is_made_of_a_text_is_no_part_of_it(tmp_path, monkeypatch):
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "a.txt").write_text("first")
    before = open_corpus(str(tmp_path)).digest
    monkeypatch.setenv("RECOLLECT_TEXT", str(tmp_path / "b" / "kept"))
    (tmp_path / "b" / "kept").mkdir()
    (tmp_path / "b" / "kept" / "tokenizer.json").write_text("{}")
    assert open_corpus(str(tmp_path)).digest == before
    for text in (str(tmp_path), f"{tmp_path}@train"):
        with pytest.raises(UserError, match=r"model lies in the folder .* use another folder"):
            check_outside(text, tmp_path / "b" / "model")
        check_outside(text, tmp_path / "b" / "kept")
        check_outside(text, tmp_path.with_name("elsewhere"))
    for text in ("python-stdlib", str(tmp_path / "b" / "a.txt"), "datasets:some/name"):
        check_outside(text, tmp_path / "model")


def test_the_digest_is_that_of_the_content(tmp_path):
    path = write_lines(tmp_path / "a.jsonl")
    before = open_corpus(str(path)).digest
    assert open_corpus(str(path.rename(tmp_path / "b.jsonl"))).digest == before
    write_lines(tmp_path / "b.jsonl", [*DOCUMENTS, "more"])
    assert open_corpus(str(tmp_path / "b.jsonl")).digest != before
    of_folder = open_corpus(str(tmp_path)).digest
    (tmp_path / "c.txt").write_text("more")
    assert open_corpus(str(tmp_path)).digest != of_folder


def test_this_python_is_a_text():
    found = open_corpus("python-stdlib")
    assert found.digest == open_corpus("python-stdlib").digest
    documents = [document.text for document in found.documents()]
    assert len(documents) == found.numbers > 400
    assert Path(json.__file__).read_text(encoding="utf-8") in documents
    assert topics.topics["if"] in documents
    assert Path(topics.__file__).read_text(encoding="utf-8") not in documents, "once is enough"
    assert not any(text.startswith(Path(pytest.__file__).read_text()) for text in documents)
    assert sum(map(len, documents)) > 5e6


PARTS = ("train", "valid", "test")


@given(st.lists(st.text(), unique=True), st.lists(st.text()))
def test_a_document_stays_where_it_is_whatever_is_added(some, more):
    def parts(documents):
        whole = corpus(documents)
        return {p: [each.text for each in whole.part(p).documents()] for p in PARTS}

    before, after = parts(some), parts([*more, *reversed(some)])
    for part in PARTS:
        assert set(before[part]) <= set(after[part])
        assert set(after[part]) <= {*before[part], *more}
    everywhere = [text for part in PARTS for text in before[part]]
    assert sorted(everywhere) == sorted(some), "each is in one part"


def test_the_parts_have_their_shares():
    found = [part_of(text) for text in texts(4000)]
    assert 0.03 < found.count("test") / 4000 < 0.07
    assert 0.03 < found.count("valid") / 4000 < 0.07


def test_which_part_is_fixed_for_ever():
    assert [part_of(f"document {i}") for i in (0, 1, 25, 30)] == [
        next(
            part
            for part, upper in (("test", 0.05), ("valid", 0.1), ("train", 1))
            if int(hashlib.sha256(f"document {i}".encode()).hexdigest()[:16], 16) / 2**64 < upper
        )
        for i in (0, 1, 25, 30)
    ]


def test_a_part_by_name(tmp_path):
    path = write_lines(tmp_path / "a.jsonl", texts(300))
    whole = open_corpus(str(path))
    parts = [open_corpus(f"{path}@{part}") for part in PARTS]
    assert [part.name for part in parts] == [f"{path}@{part}" for part in PARTS]
    assert len({whole.digest, *(part.digest for part in parts)}) == 4
    numbers = [document.number for part in parts for document in part.documents()]
    assert sorted(numbers) == list(range(300))
    odd = tmp_path / "notes@test"
    odd.write_text("a file of this very name")
    assert read(odd) == ["a file of this very name"]


def test_wrong_input(tmp_path):
    (tmp_path / "empty.txt").touch()
    (tmp_path / "latin.txt").write_bytes("one\nKäfer".encode("latin-1"))
    (tmp_path / "latin.jsonl").write_bytes('{"text": "one"}\n{"text": "Käfer"}'.encode("latin-1"))
    (tmp_path / "bad.jsonl").write_text('{"text": "one"}\n{"text": 2}\n')
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "odd.jsonl").write_text('{"text": "\\ud800"}\n')
    (tmp_path / "bad.parquet").write_text("no such thing")
    pd.DataFrame({"words": ["a"], "id": [1]}).to_parquet(tmp_path / "other.parquet")
    (tmp_path / "nothing").mkdir()
    for name, parts in {
        "missing.txt": ["no text", "missing.txt", "python-stdlib"],
        "empty.txt": ["empty.txt is empty"],
        "latin.txt": ["latin.txt is not UTF-8", "line 2", "0xe4", "iconv"],
        "latin.jsonl": ["latin.jsonl is not UTF-8", "line 2"],
        "bad.jsonl": ["bad.jsonl, line 2", '{"text": "a document"}'],
        "pipe": ["pipe is not a regular file"],
        "odd.jsonl": ["odd.jsonl, line 1"],
        "bad.parquet": ["bad.parquet is damaged or not a Parquet file"],
        "other.parquet": ["no column 'text'", "words, id"],
        "nothing": ["nothing has no text"],
        "nothing@test": ["nothing has no text"],
    }.items():
        with pytest.raises(UserError) as caught:
            read(tmp_path / name)
        assert str(caught.value).count("\n") == 0
        for part in parts:
            assert part in str(caught.value)


class DataSets:
    """In place of the package: tells what it is asked for."""

    def __init__(self, error=None):
        self.asked, self.error = [], error

    def load_dataset(self, place, config, split):
        self.asked.append((place, config, split))
        if self.error:
            raise self.error
        return SimpleNamespace(column_names=["id"])


@pytest.mark.parametrize(
    ("name", "asked"),
    [
        ("some/name", ("some/name", None, "train")),
        ("some/name:en", ("some/name", "en", "train")),
        ("some/name::test", ("some/name", None, "test")),
        ("some/name:en:train[:10%]", ("some/name", "en", "train[:10%]")),
    ],
)
def test_the_parts_of_a_data_sets_name(name, asked, monkeypatch):
    package = DataSets()
    monkeypatch.setitem(sys.modules, "datasets", package)
    with pytest.raises(UserError, match="has no column 'text', only id"):
        open_corpus(f"datasets:{name}")
    assert package.asked == [asked]


def opened_data_set(rows, monkeypatch):
    class Rows(list):
        column_names = ("id", "text")

    loaded = Rows({"id": i, "text": text} for i, text in enumerate(rows))
    package = SimpleNamespace(load_dataset=lambda *_, **__: loaded)
    monkeypatch.setitem(sys.modules, "datasets", package)
    return open_corpus("datasets:some/name")


def test_the_rows_of_a_data_set(monkeypatch):
    found = opened_data_set([None, "one", "", None, "two"], monkeypatch)
    assert [each.text for each in found.documents()] == ["one", "", "two"]
    assert (found.numbers, found.reading.left_out) == (3, 2)
    assert str(found.reading) == "3 documents (rows of a data set); 2 rows without a text left out"
    digests = {
        opened_data_set(rows, monkeypatch).digest
        for rows in (["one", "", "two"], ["one", "two"], ["one", "two", None], ["onetwo"])
    }
    assert len(digests) == 3, "the same documents, the same digest"
    assert found.digest in digests


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([None, None], "no row of datasets:some/name has a text: each of its 2 is null"),
        (["a", 7], "row 1: the column 'text' has a value of type int, expected strings"),
        (["a", ["b"]], "row 1: the column 'text' has a value of type list, expected strings"),
        ([{"en": "a"}], "row 0: the column 'text' has a value of type dict, expected strings"),
    ],
)
def test_a_data_set_without_texts(rows, message, monkeypatch):
    with pytest.raises(UserError, match=message):
        opened_data_set(rows, monkeypatch)


def test_a_data_set_that_cannot_be_loaded(monkeypatch):
    scripts = RuntimeError("Dataset scripts are no longer supported, but found name.py")
    monkeypatch.setitem(sys.modules, "datasets", DataSets(scripts))
    with pytest.raises(UserError, match="cannot load datasets:some/name: Dataset scripts"):
        open_corpus("datasets:some/name")


def test_a_data_set_needs_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "datasets", None)  # as if it were not installed
    with pytest.raises(UserError, match=r"needs datasets: pip install '\.\[language\]'"):
        open_corpus("datasets:some/name")
