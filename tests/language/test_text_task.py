"""A text as a task: its windows, its parts, its identity; and a study on it."""

import json
import math
import pickle
from collections import Counter
from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from made_tokenizers import with_control, write
from small_texts import texts

from recollect.config import canonical_json
from recollect.errors import UserError
from recollect.language.shards import Shard, Shards
from recollect.language.sources import open_corpus
from recollect.language.stream import draw_windows, tokens_at
from recollect.language.text_task import Text
from recollect.models.config import ModelConfig
from recollect.tasks.mixture import Mixture
from recollect.tasks.task import Role, parse_task
from recollect.training.config import Seeds, TrainConfig, TrialConfig
from recollect.training.data import held_out
from recollect.training.trial import run_trial


@pytest.fixture
def name(tmp_path, monkeypatch):
    """A text in a file, and a folder for what is made of it."""
    monkeypatch.setenv("RECOLLECT_TEXT", str(tmp_path / "kept"))
    path = tmp_path / "story.jsonl"
    path.write_text("".join(json.dumps({"text": each}) + "\n" for each in texts(200)))
    return str(path)


def text(name, **changes) -> Text:
    return Text(**({"text": name, "tokenizer": 270, "seq_len": 12} | changes))


def row_of(task: Text, part: str) -> list[int]:
    """The tokens of a part, one after the other."""
    corpus = open_corpus(task.text).part(part)
    encoded = task.data.tokenizer.encode([each.text for each in corpus.documents()])
    end = [task.data.tokenizer.end_of_text] if task.end_of_text else []
    return [token for tokens in encoded if len(tokens) > 1 for token in [*tokens, *end]]


@pytest.mark.parametrize("end_of_text", [True, False])
@pytest.mark.parametrize("part", ["train", "valid", "test"])
def test_examples_are_windows_of_their_part(name, part, end_of_text):
    task = text(name, end_of_text=end_of_text)
    row = row_of(task, part)
    there = {tuple(row[i : i + 13]) for i in range(len(row) - 12)}
    batch = task.split(part).sample(50, seed=3)
    assert batch.positions is None
    assert torch.equal(batch.inputs[:, 1:], batch.targets[:, :-1])
    whole = torch.cat([batch.inputs, batch.targets[:, -1:]], dim=1)
    assert {tuple(window) for window in whole.tolist()} <= there
    again = task.split(part).sample(50, seed=3)
    assert torch.equal(again.inputs, batch.inputs)
    assert not torch.equal(task.split(part).sample(50, seed=4).inputs, batch.inputs)


class Numbered(Shards):
    """Every token is its number in the text."""

    def __init__(self, *lengths: int) -> None:
        self.given = list(lengths)

    @property
    def lengths(self) -> list[int]:
        return self.given

    def __getitem__(self, i: int) -> Shard:
        begin = sum(self.given[:i])
        tokens = np.arange(begin, begin + self.given[i])
        return Shard(tokens, np.array([len(tokens)]))


def test_every_window_of_every_shard_is_as_likely():
    shards = Numbered(7, 2, 12, 3)
    drawn = draw_windows(shards, 16_000, 3, torch.Generator().manual_seed(0))
    assert (drawn.diff(dim=1) == 1).all()
    counts = Counter(drawn[:, 0].tolist())
    assert sorted(counts) == [*range(5), *range(9, 19), 21]
    assert all(abs(count - 1000) < 160 for count in counts.values())
    assert draw_windows(Numbered(2, 2), 4, 3, torch.Generator()) is None


@given(st.lists(st.integers(2, 5), min_size=1, max_size=6))
def test_a_row_with_end_tokens_is_that_of_a_loop(lengths):
    tokens = np.arange(sum(lengths))
    shard, row = Shard(tokens, np.cumsum(lengths)), []
    for document in np.split(tokens, shard.ends[:-1]):
        row += [*document.tolist(), 999]
    assert tokens_at(shard, np.arange(len(row)), 999).tolist() == row
    assert tokens_at(shard, np.arange(len(tokens)), None).tolist() == tokens.tolist()


def test_windows_with_end_tokens_begin_anywhere(name):
    """The end of the last document too; every window is as likely."""
    task = text(name, seq_len=1)
    row = row_of(task, "test")
    batch = task.split("test").sample(400 * len(row), seed=0)
    windows = zip(batch.inputs.ravel().tolist(), batch.targets.ravel().tolist(), strict=True)
    drawn, expected = Counter(windows), Counter(pairwise(row))
    assert drawn.keys() == expected.keys()
    for window, count in expected.items():
        assert abs(drawn[window] / 400 - count) < 5 * (count / 400) ** 0.5, "standard errors"


def test_joined_documents_have_the_key_of_a_form_without_the_field(name):
    joined, ended = text(name, end_of_text=False), text(name)
    dumped = joined.model_dump(mode="json")
    assert not {"end_of_text", "end"} & dumped.keys()
    assert parse_task(dumped) == joined != ended
    assert parse_task(ended.model_dump(mode="json")) == ended
    assert ended.identity["end"] == ended.data.tokenizer.end_of_text
    assert ended.vocab_size == joined.vocab_size == 270


def test_a_given_tokenizer_ends_documents_if_it_can(name, tmp_path):
    plain, named = tmp_path / "plain", tmp_path / "named"
    for folder, settings in ((plain, {}), (named, {"eos_token": "</s>"})):
        write(with_control("<s>", "</s>"), folder, **settings)
    with pytest.raises(UserError, match=r"plain has no end-of-text token.*end_of_text=False"):
        text(name, tokenizer=str(plain))
    assert text(name, tokenizer=str(plain), end_of_text=False).data.end is None
    task = text(name, tokenizer=str(named))
    assert task.data.tokenizer.names([task.data.end]) == ["</s>"]
    assert task.data.end in task.sample(50, seed=0).inputs


def test_validation_and_test_have_documents_of_their_own(name):
    seeds = Seeds.of(1)
    for split in ("train", "valid", "test"):
        (batch,) = held_out(text(name), 20, seeds, split)
        row = row_of(text(name), split)
        there = {tuple(row[i : i + 12]) for i in range(len(row) - 11)}
        assert {tuple(window) for window in batch.inputs.tolist()} <= there


def test_what_the_names_stand_for_is_a_part_of_the_key(name, tmp_path, monkeypatch):
    task = text(name)
    dumped = task.model_dump(mode="json")
    assert parse_task(dumped) == task
    assert pickle.loads(pickle.dumps(task.split("test"))) == task.split("test") != task
    monkeypatch.setenv("RECOLLECT_TEXT", str(tmp_path / "elsewhere"))
    assert canonical_json(task.model_dump(mode="json")) == canonical_json(dumped)
    for digest in ("text_digest", "tokenizer_digest"):
        with pytest.raises(UserError, match="'text' has changed since this was stored"):
            parse_task(dumped | {digest: "another"})
    assert dumped["tokenizer_digest"] != text(name, tokenizer=265).identity["tokenizer_digest"]


def test_a_tokenizer_is_learnt_once_or_given(name, tmp_path):
    learnt = text(name)
    assert learnt.vocab_size == 270
    (file,) = (tmp_path / "kept").glob("tokenizer-*.json")
    again = text(name, tokenizer=str(file))
    assert again.identity["tokenizer_digest"] == learnt.identity["tokenizer_digest"]
    assert again.vocabulary == learnt.vocabulary != text(name, tokenizer=265).vocabulary
    assert torch.equal(again.sample(4, 0).inputs, learnt.sample(4, 0).inputs)


def test_a_text_that_changes_under_a_process_is_refused(name, tmp_path):
    before = text(name).sample(4, seed=0)
    path = tmp_path / "story.jsonl"
    path.touch()
    assert torch.equal(text(name).sample(4, seed=0).inputs, before.inputs), "the same content"
    path.write_text(path.read_text() + '{"text": "one more"}\n')
    with pytest.raises(UserError, match=r"story\.jsonl has changed .*: start the process again"):
        text(name)


def test_a_file_more_or_less_is_another_text(tmp_path, monkeypatch):
    monkeypatch.setenv("RECOLLECT_TEXT", str(tmp_path / "kept"))
    folder = tmp_path / "texts"
    folder.mkdir()
    for i, each in enumerate(texts(60)):
        (folder / f"{i}.txt").write_text(each)
    task = text(str(folder))
    (folder / "store.db").write_bytes(b"\0")
    assert text(str(folder)).identity == task.identity, "no text"
    (folder / "more.txt").write_text("one more")
    with pytest.raises(UserError, match="has changed"):
        text(str(folder))
    with pytest.raises(UserError, match="has changed"):
        task.sample(4, seed=0)
    (folder / "more.txt").unlink()
    assert len(text(str(folder)).sample(4, seed=0)) == 4
    (folder / "0.txt").unlink()
    with pytest.raises(UserError, match="has changed"):
        text(str(folder))


def test_what_it_says_of_itself(name):
    task = text(name)
    assert task.label == "text-story.jsonl-12-v270-eot"
    assert text(name, end_of_text=False).label == "text-story.jsonl-12-v270"
    assert (task.max_len, task.chance, task.guess_loss) == (12, 1 / 270, math.log(270))
    assert Mixture(tasks=(task, text(name, seq_len=6))).guess_loss == task.guess_loss
    batch = task.sample(2, seed=0)
    assert (task.roles(batch) == Role.TEXT.index).all()
    assert "".join(map(task.spell, batch.inputs[0].tolist())) == task.data.tokenizer.decode(
        batch.inputs[0].tolist()
    )


def test_a_text_that_is_too_short(name):
    with pytest.raises(UserError, match=r"seq_len=4000: .*@test has no 4001 tokens in a row"):
        text(name, seq_len=4000).split("test").sample(1, seed=0)


def test_a_text_without_documents_for_a_part(name, tmp_path):
    """It is refused before a tokenizer is learnt."""
    (tmp_path / "book.txt").write_text(" ".join(texts(200)))
    for text_name in (str(tmp_path / "book.txt"), f"{name}@train"):
        with pytest.raises(UserError, match=r"no document for .*valid.*JSON lines, Parquet, or a"):
            text(text_name)
    assert not (tmp_path / "kept").exists()


def test_a_trial_learns_it(name):
    """Words follow from their first letters: the loss falls far below that of guessing."""
    train = TrainConfig(
        steps=30, batch_size=16, eval_every=15, learning_rate=1e-2, valid_examples=20,
        test_examples=20, stop_accuracy=None,
    )  # fmt: skip
    model = ModelConfig(mixer="attention", d_model=16, n_layers=1)
    task = text(name)
    result = run_trial(TrialConfig(task=task, model=model, train=train))
    assert result.test[task.label].loss < 0.8 * task.guess_loss
