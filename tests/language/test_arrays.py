"""Arrays in a folder: whole, checked, made once."""

import json
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import numpy as np
import pytest

from recollect.errors import UserError
from recollect.language.arrays import MANIFEST, ArrayFolder, made_once

ARRAY = np.arange(1000, dtype=np.uint16)


def make(writer):
    writer.write("a", ARRAY)
    with writer.stream("b", np.dtype(np.int64)) as put:
        put(np.arange(5))
        put(np.arange(5, 7))
    writer.write("empty", np.empty(0, np.float32))
    writer.about["said"] = "so"
    writer.commit()


@pytest.fixture
def folder(tmp_path):
    made_once(tmp_path / "made", make)
    return tmp_path / "made"


def test_what_was_written_is_read(folder):
    read = ArrayFolder(folder)
    assert read["a"].dtype == np.uint16
    assert np.array_equal(read["a"], ARRAY)
    assert read["b"].tolist() == list(range(7))
    assert read["empty"].tolist() == []
    assert read.about == {"said": "so"}


def test_an_array_of_the_disk_cannot_be_changed(folder):
    with pytest.raises(ValueError, match="read-only"):
        ArrayFolder(folder)["a"][0] = 1


def test_a_truncated_file_is_named(folder):
    file = folder / "a"
    file.write_bytes(file.read_bytes()[:-2])
    with pytest.raises(UserError, match=r"made/a is truncated .* 1,998 bytes, expected 2,000"):
        ArrayFolder(folder)
    file.unlink()
    with pytest.raises(UserError, match=r"made/a is truncated .* 0 bytes"):
        ArrayFolder(folder)


def test_a_damaged_file_is_named(folder):
    file = folder / "b"
    file.write_bytes(file.read_bytes().replace(b"\3", b"\7"))
    read = ArrayFolder(folder)
    assert np.array_equal(read["a"], ARRAY)
    for _ in range(2):
        with pytest.raises(UserError, match="made/b is damaged"):
            read["b"]


MADE = {"format": 1, "about": {}}
ENTRY = {"dtype": "<i8", "length": 1, "sha256": "0"}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "is damaged"),
        ("[]", "is damaged"),
        ("{}", "is damaged"),
        (json.dumps({"format": 99}), "another version .*format 99"),
        (json.dumps(MADE | {"arrays": {"a": ENTRY | {"dtype": "<q7"}}}), "is damaged"),
        (json.dumps(MADE | {"arrays": {"a": ENTRY | {"length": None}}}), "is damaged"),
        (json.dumps(MADE | {"arrays": {"a": {}}}), "is damaged"),
        (json.dumps(MADE | {"arrays": ["a"]}), "is damaged"),
    ],
)
def test_a_manifest_that_is_none(folder, text, message):
    (folder / MANIFEST).write_text(text)
    with pytest.raises(UserError, match=message):
        ArrayFolder(folder)


def test_a_folder_that_is_none(tmp_path):
    with pytest.raises(UserError, match="cannot read"):
        ArrayFolder(tmp_path)


def test_a_failure_leaves_no_folder(tmp_path):
    def fail(writer):
        writer.write("a", ARRAY)
        raise RuntimeError

    with pytest.raises(RuntimeError):
        made_once(tmp_path / "made", fail)
    assert not (tmp_path / "made").exists()
    made_once(tmp_path / "made", make)
    assert {file.name for file in (tmp_path / "made").iterdir()} == {"a", "b", "empty", MANIFEST}


def test_a_full_disk_is_reported(tmp_path):
    def onto_a_full_disk(writer):
        (writer.path / "a").symlink_to("/dev/full")
        writer.write("a", ARRAY)

    with pytest.raises(UserError, match=r"cannot make .*made: .*No space left"):
        made_once(tmp_path / "made", onto_a_full_disk)
    assert not (tmp_path / "made").exists()


def test_a_folder_that_cannot_be_written_is_reported(tmp_path, monkeypatch):
    def refuse(path):
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr("recollect.language.kept.FileLock", refuse)  # root may write anywhere
    with pytest.raises(UserError, match=r"cannot make .*made: .*Permission denied"):
        made_once(tmp_path / "made", make)


def test_two_who_want_it_at_once_make_it_once(tmp_path):
    start, made = Barrier(2), []

    def slowly(writer):
        made.append(1)
        make(writer)

    def want(_):
        start.wait()
        return made_once(tmp_path / "made", slowly)["b"].tolist()

    with ThreadPoolExecutor(2) as pool:
        assert list(pool.map(want, range(2))) == [list(range(7))] * 2
    assert made == [1]
    assert [path.name for path in tmp_path.iterdir()] == ["made"]
