"""Tokenizers: learnt, given, and spec apart."""

import json

import pytest
from huggingface_hub.errors import HTTPError
from hypothesis import given
from hypothesis import strategies as st
from small_texts import texts, tokenizer
from tokenizers.processors import TemplateProcessing
from transformers import PreTrainedTokenizerFast

from recollect.errors import UserError
from recollect.language.tokenizer import Tokenizer
from recollect.language.tokenizer_files import load_tokenizer, train_tokenizer

CUTTER = tokenizer()


@given(st.text())
def test_every_text_comes_back(text):
    (tokens,) = CUTTER.encode([text])
    assert CUTTER.decode(tokens) == text
    assert all(token < CUTTER.vocab_size for token in tokens)


def test_training_merges_what_is_frequent():
    assert CUTTER.vocab_size == 280
    (tokens,) = CUTTER.encode(["the cat"])
    assert len(tokens) < 7
    assert train_tokenizer(texts(50), 280).digest == CUTTER.digest
    assert train_tokenizer(texts(50), 279).digest != CUTTER.digest
    assert train_tokenizer([], 300).vocab_size == 256


def test_a_vocabulary_without_all_bytes():
    with pytest.raises(UserError, match="vocab_size=255: expected at least 256"):
        train_tokenizer(["text"], 255)


def test_files_and_folders_give_the_same_tokenizer(tmp_path):
    CUTTER.save(tmp_path / "mine.json")
    PreTrainedTokenizerFast(tokenizer_object=CUTTER.backend).save_pretrained(tmp_path / "theirs")
    for name in ("mine.json", "theirs", "theirs/tokenizer.json"):
        loaded = load_tokenizer(str(tmp_path / name))
        assert loaded.digest == CUTTER.digest
        assert loaded.encode(texts(3)) == CUTTER.encode(texts(3))


def test_a_folder_in_an_older_form(tmp_path):
    """As GPT-2 was published: the vocabulary, and the merges."""
    model = json.loads(CUTTER.backend.to_str())["model"]
    (tmp_path / "vocab.json").write_text(json.dumps(model["vocab"]))
    merges = [pair if isinstance(pair, str) else " ".join(pair) for pair in model["merges"]]
    (tmp_path / "merges.txt").write_text("\n".join(["#version: 0.2", *merges]))
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "gpt2"}))
    loaded = load_tokenizer(str(tmp_path))
    assert loaded.encode(texts(3)) == CUTTER.encode(texts(3))


def test_special_tokens_padding_and_truncation_are_left_out(tmp_path):
    CUTTER.save(tmp_path / "a.json")
    backend = load_tokenizer(str(tmp_path / "a.json")).backend
    backend.post_processor = TemplateProcessing(single="a $0 a", special_tokens=[("a", 5)])
    backend.enable_padding(length=50)
    backend.enable_truncation(3)
    other = Tokenizer(backend)
    assert other.digest == CUTTER.digest
    assert other.encode(texts(3)) == CUTTER.encode(texts(3))


def test_the_same_text_has_the_same_tokens_each_time(tmp_path):
    """Dropout of BPE is for training: without it, it is the same tokenizer."""
    plain = tokenizer()
    spec = json.loads(plain.backend.to_str())
    spec["model"]["dropout"] = 0.5
    (tmp_path / "tokenizer.json").write_text(json.dumps(spec))
    found = load_tokenizer(str(tmp_path))
    assert found.encode(texts(20)) == plain.encode(texts(20))
    assert found.digest == plain.digest


def test_a_network_that_fails(monkeypatch):
    class ProxyError(HTTPError):
        """What the hub's client raises below is no OSError."""

    def fail(*_, **__):
        raise ProxyError("503 no proxy\nand more")

    monkeypatch.setattr("huggingface_hub.snapshot_download", fail)
    with pytest.raises(UserError, match=r"some/name is not a local folder.*\(503 no proxy\)"):
        load_tokenizer("some/name")


def test_wrong_input(tmp_path):
    (tmp_path / "bad.json").write_text('{"model": ')
    with pytest.raises(UserError, match=r"bad\.json is damaged or not a tokenizer"):
        load_tokenizer(str(tmp_path / "bad.json"))
    (tmp_path / "nothing").mkdir()
    with pytest.raises(UserError, match="nothing has no tokenizer"):
        load_tokenizer(str(tmp_path / "nothing"))
