"""Tokens on disk: what was written is read, whatever happened meanwhile."""

import json
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from small_texts import corpus, shards, texts, tokenizer

from recollect.errors import UserError
from recollect.language.shards import Shards, make_shards

SCRIPT = Path(__file__).with_name("shard_script.py")


def documents(found: Shards) -> list[list[int]]:
    return [part.tolist() for s in found for part in np.split(s.tokens, s.ends[:-1])]


def test_shards_hold_the_tokens_of_whole_documents(tmp_path):
    long, some = " ".join(texts(9)), texts(40)
    all_of_them = [*some[:20], "", "a", long, *some[20:]]
    progress = []
    found = make_shards(
        corpus(all_of_them),
        tokenizer(),
        tmp_path,
        lambda *done: progress.append(done),
        shard_tokens=100,
    )
    ids = [tokens for tokens in tokenizer().encode(all_of_them) if len(tokens) > 1]
    assert documents(found) == ids
    assert found.too_short == len(all_of_them) - len(ids) >= 2
    assert (found.documents, found.tokens) == (len(ids), sum(map(len, ids)))
    assert len(found) > 5
    assert all(shard.tokens.dtype == np.uint16 for shard in found)
    assert min([len(shard.tokens) for shard in found][:-1]) >= 100
    assert progress == [(i + 1, len(all_of_them)) for i in range(len(all_of_them))]


def test_they_are_made_once_for_a_text_and_a_tokenizer(tmp_path):
    some = texts(10)
    first = shards(some, tmp_path)

    def unread():
        raise AssertionError("read again")

    known = replace(corpus(some), documents=unread)
    again = make_shards(known, tokenizer(), tmp_path, shard_tokens=100)
    assert documents(again) == documents(first)
    others = [
        make_shards(corpus(some, "another"), tokenizer(), tmp_path, shard_tokens=100),
        make_shards(corpus(some), tokenizer(270), tmp_path, shard_tokens=100),
    ]
    assert len({each.digest for each in (first, *others)}) == 3


def test_a_part_of_a_text(tmp_path):
    some = texts(200)
    part = corpus(some).part("test")
    found = make_shards(part, tokenizer(), tmp_path, shard_tokens=100)
    ids = tokenizer().encode([document.text for document in part.documents()])
    assert documents(found) == [tokens for tokens in ids if len(tokens) > 1]
    assert 0 < found.documents < 40


def test_killed_and_made_again(tmp_path):
    """What was whole when it was killed is not made again, and the end is the same."""
    whole = tmp_path / "whole"
    make_shards(corpus(texts(200)), tokenizer(), whole, shard_tokens=300)
    killed = tmp_path / "killed"
    command = [sys.executable, SCRIPT, killed]
    kept: dict[str, int] = {}
    for more in (2, 5):
        process, goal = subprocess.Popen(command), len(kept) + more
        while len(stamps(killed)) < goal:
            assert process.poll() is None
            time.sleep(0.005)
        process.kill()
        process.wait()
        assert kept.items() <= stamps(killed).items()
        kept = stamps(killed)
    assert not list(killed.glob("tokens-*"))
    (unfinished,) = killed.glob(".tokens-*.unfinished")
    (unfinished / "00099.tokens").write_bytes(b"half a shard")
    assert subprocess.run(command, check=False).returncode == 0
    (made,), (expected,) = killed.glob("tokens-*"), whole.glob("tokens-*")
    assert contents(made) == contents(expected)
    assert {name: (made / name).stat().st_mtime_ns for name in kept} == kept


def stamps(folder: Path) -> dict[str, int]:
    """The arrays that a manifest in the making tells of, and when each was written."""
    for manifest in folder.glob(".tokens-*.unfinished/manifest.json"):
        names = json.loads(manifest.read_text())["arrays"]
        return {name: (manifest.parent / name).stat().st_mtime_ns for name in names}
    return {}


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_a_truncated_shard_is_never_read(tmp_path):
    found = shards(texts(40), tmp_path)
    (folder,) = tmp_path.glob("tokens-*")
    path = folder / "00001.tokens"
    path.write_bytes(path.read_bytes()[:-50])
    with pytest.raises(UserError, match=r"00001\.tokens is truncated"):
        shards(texts(40), tmp_path)
    assert len(found[0].tokens) >= 100
    path.write_bytes(path.read_bytes() + bytes(50))
    with pytest.raises(UserError, match=r"00001\.tokens is damaged"):
        shards(texts(40), tmp_path)[1]


def test_documents_that_are_too_short(tmp_path):
    with pytest.raises(UserError, match="a text has no document of at least two tokens"):
        shards(["a", "", "b"], tmp_path)
