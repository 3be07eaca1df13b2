"""Compressed texts are those that they hold, and damage is reported in one sentence."""

import bz2
import gzip
import json
import lzma
import sys
import tracemalloc
from importlib import import_module

import pytest

from recollect.errors import UserError
from recollect.language.sources import open_corpus

DOCUMENTS = [f"document {i}: " + "the cat sat " * i for i in range(40)]
ROWS = "".join(json.dumps({"text": text}) + "\n" for text in DOCUMENTS).encode()
PACK = {"gz": gzip.compress, "bz2": bz2.compress, "xz": lzma.compress}


def write(folder, name, content):
    path = folder / name
    path.write_bytes(content)
    return path


def read(path):
    return [document.text for document in open_corpus(str(path)).documents()]


def zstd():
    return import_module("compression.zstd" if sys.version_info >= (3, 14) else "backports.zstd")


def check(folder, suffix, pack):
    plain = open_corpus(str(write(folder, "plain.jsonl", ROWS)))
    packed = pack(ROWS)
    for name in (f"a.jsonl.{suffix}", f"a.JSONL.{suffix.upper()}", "a.jsonl", f"a.{suffix}", "a"):
        path = write(folder, name, packed)
        assert read(path) == DOCUMENTS
        assert open_corpus(str(path)).digest == plain.digest, "the same documents"
    text = write(folder, f"a.txt.{suffix}", pack(b"one\ntwo"))
    assert read(text) == ["one\ntwo"]
    members = write(folder, f"b.jsonl.{suffix}", pack(ROWS[:700]) + pack(ROWS[700:]))
    assert read(members) == DOCUMENTS
    for binary in (b"\0\1" * 100, b"\xff\xfea\0"):
        with pytest.raises(UserError, match="UTF-16"):
            open_corpus(str(write(folder, f"a.tar.{suffix}", pack(binary))))
    for damaged in (packed[:-9], packed[: len(packed) // 2], flipped(packed)):
        with pytest.raises(UserError, match=r"a\.jsonl\.\w+ is damaged or truncated") as caught:
            open_corpus(str(write(folder, f"a.jsonl.{suffix}", damaged)))
        assert "\n" not in str(caught.value)


def flipped(packed):
    middle = len(packed) // 2
    return packed[:middle] + bytes([packed[middle] ^ 0x55]) + packed[middle + 1 :]


@pytest.mark.parametrize("suffix", PACK)
def test_compressed_texts(tmp_path, suffix):
    check(tmp_path, suffix, PACK[suffix])


def test_zstd(tmp_path):
    def pack(content):  # a checksum is its writer's choice
        return module.compress(content, options={module.CompressionParameter.checksum_flag: 1})

    module = zstd()
    check(tmp_path, "zst", pack)


def test_zstd_needs_a_package(tmp_path, monkeypatch):
    for module in ("compression.zstd", "backports.zstd"):
        monkeypatch.setitem(sys.modules, module, None)  # as if it were not there
    path = write(tmp_path, "a.jsonl.zst", b"\x28\xb5\x2f\xfd and so on")
    with pytest.raises(UserError, match=r"zstd.*pip install '\.\[zstd\]'"):
        open_corpus(str(path))


def test_the_name_alone_compresses_nothing(tmp_path):
    assert read(write(tmp_path, "a.jsonl.gz", ROWS)) == DOCUMENTS
    assert read(write(tmp_path, "notes.gz", b"plain")) == ["plain"]
    assert read(write(tmp_path, "notes.txt", b"BZh is how bzip2 begins")) == [
        "BZh is how bzip2 begins"
    ]


@pytest.mark.parametrize("name", ["a.parquet.gz", "a.gz"])
def test_parquet_is_not_compressed_twice(tmp_path, name):
    path = write(tmp_path, name, gzip.compress(b"PAR1 pages PAR1"))
    with pytest.raises(UserError, match="is compressed Parquet: decompress it"):
        open_corpus(str(path))


def test_rows_are_decompressed_as_they_are_read(tmp_path):
    """Memory holds a row of many, not all that a small file unfolds to."""
    row = json.dumps({"text": "a" * 20_000}).encode() + b"\n"
    path = write(tmp_path, "a.jsonl.gz", gzip.compress(row * 1500))
    tracemalloc.start()
    found = open_corpus(str(path))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert found.numbers == 1500
    assert peak < 5e6 < 1500 * len(row)
