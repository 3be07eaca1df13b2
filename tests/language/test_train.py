"""Training of language models: interrupted, divided among processes, and what it leaves."""

import math
import socket
import time
from collections import Counter
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import apart
import pytest
import torch
import torch.nn.functional as F
from tiny_training import EVERY, STEPS, losses, trial, write_text
from torch import nn

import forked
from recollect.errors import UserError
from recollect.language.counts import count_ngrams
from recollect.language.hit_metrics import HIT_LOSS, HIT_SHARE, hits_among
from recollect.language.model_folder import load_model
from recollect.language.pretrained import open_pretrained
from recollect.language.train import Watch, train_language_model
from recollect.language.training import Training, opened
from recollect.language.training_folder import STUDY
from recollect.language.validation import perplexity
from recollect.mixers.catalogue import mixer
from recollect.models.config import ModelConfig
from recollect.studies.results import history_frame, trials_frame
from recollect.studies.store import Store
from recollect.tasks.batch import Batch
from recollect.training.checkpoint import build_model
from recollect.training.data import held_out
from recollect.training.device import describe_device
from recollect.training.evaluate import evaluate

pytestmark = pytest.mark.slow


@pytest.fixture
def text(tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv("RECOLLECT_TEXT", str(tmp_path / "kept"))
    return write_text(tmp_path)


def validations(config, folder) -> int:
    """How many are stored."""
    if not (folder / "results.db").exists():
        return 0
    with Store(folder / "results.db") as store:
        return len(store.history(config.key))


def test_what_a_training_leaves(text, tmp_path):
    folder, seen = tmp_path / "model", []
    watch = Watch(on_step=lambda step, _: seen.append(step), on_validated=seen.append)
    log = train_language_model(trial(text), folder, device="cpu", watch=watch)
    assert [m.step for m in log] == [3, 6, 9, 12]
    assert [m.tokens for m in log] == [m.step * 8 * 16 for m in log]
    assert [each for each in seen if isinstance(each, int)] == list(range(1, STEPS + 1))
    validated = [each for each in seen if not isinstance(each, int)]
    assert [*validated[:-1], replace(validated[-1], test_loss=log[-1].test_loss)] == log
    assert log[-1].valid_loss < log[0].valid_loss < math.log(270)
    assert all(m.tokens_per_second > 0 for m in log)
    assert {m.device for m in log} == {describe_device(torch.device("cpu"))}
    assert {path.name for path in folder.iterdir()} == {
        "results.db",
        "recollect.json",
        "model.safetensors",
        "tokenizer.json",
    }
    opened = open_pretrained(str(folder))
    assert (opened.vocab_size, opened.max_len) == (270, 16)
    assert opened.begins_with == "<|endoftext|>"
    for part, n, logged in (("valid", 10, "valid_loss"), ("test", 20, "test_loss")):
        (windows,) = held_out(trial(text).task, n, trial(text).seeds, part)
        logits = load_model(folder)(windows.inputs)
        loss = F.cross_entropy(logits.flatten(0, 1), windows.targets.flatten())
        assert loss.item() == pytest.approx(getattr(log[-1], logged), rel=1e-5)


def test_the_store_has_it_as_a_trial(text, tmp_path):
    """Also while it is in work."""
    seen = []

    def look(moment):
        with Store(tmp_path / "model" / "results.db") as store:
            (row,) = trials_frame(store, STUDY).itertuples()
            seen.append((row.status, row.step, moment.step, len(history_frame(store, STUDY))))

    watch = Watch(on_validated=look)
    log = train_language_model(trial(text), tmp_path / "model", device="cpu", watch=watch)
    assert seen == [("stopped", 3 * i, 3 * i, i) for i in (1, 2, 3, 4)]
    with Store(tmp_path / "model" / "results.db") as store:
        (row,) = trials_frame(store, STUDY).itertuples()
        history = history_frame(store, STUDY)
    assert (row.key, row.status, row.test_loss) == (trial(text).key, "complete", log[-1].test_loss)
    assert [*history["valid_loss"]] == [moment.valid_loss for moment in log]


def test_a_finished_one_is_not_trained_again(text, tmp_path):
    """A checkpoint that it left as it was killed is removed."""
    first = train_language_model(trial(text), tmp_path / "model", device="cpu")
    checkpoint = checkpoint_of(trial(text), tmp_path / "model")
    checkpoint.parent.mkdir(parents=True)
    checkpoint.touch()
    watch = Watch(on_step=lambda *_: pytest.fail("trained again"))
    assert train_language_model(trial(text), tmp_path / "model", watch=watch) == first
    assert not checkpoint.exists()


def checkpoint_of(config, folder) -> Path:
    return folder / "results.db.trials" / config.key / "checkpoint.safetensors"


def test_killed_before_it_was_stored_that_it_ended(text, tmp_path, monkeypatch):
    """The model is there, and the store says nothing of an end: the end is made once more."""
    monkeypatch.setattr("recollect.training.trial.CHECKPOINT_SECONDS", 0.0)
    folder, save = tmp_path / "model", Training.save

    def fail_in_the_end(training, result):
        if result.status == "complete":
            raise KeyboardInterrupt
        save(training, result)

    with monkeypatch.context() as patched:
        patched.setattr(Training, "save", fail_in_the_end)
        with pytest.raises(KeyboardInterrupt):
            train_language_model(trial(text), folder, device="cpu")
    assert (folder / "recollect.json").exists()
    done: list[int] = []
    watch = Watch(on_step=lambda step, _: done.append(step))
    log = train_language_model(trial(text), folder, device="cpu", watch=watch)
    assert len(done) < STEPS
    assert (len(log), log[-1].test_loss is None) == (STEPS // EVERY, False)


def test_few_windows_at_a_time_are_as_good_as_all(text, tmp_path):
    whole = train_language_model(trial(text), tmp_path / "whole", device="cpu")
    parts = train_language_model(trial(text), tmp_path / "parts", rows=3, device="cpu")
    for one, other in zip(losses(whole), losses(parts), strict=True):
        assert one == pytest.approx(other, rel=1e-4)


def test_killed_and_begun_again(text, tmp_path):
    """With kill -9, twice: the same losses to the last bit."""
    whole = train_language_model(trial(text), tmp_path / "whole", rows=3, device="cpu")
    folder = tmp_path / "killed"
    for lines in (1, 2):
        process = forked.start(apart.train, text, folder, 0.3, {})
        while validations(trial(text), folder) < lines:
            assert process.is_alive()
            time.sleep(0.02)
        process.kill()
        process.join()
    assert not (folder / "recollect.json").exists()
    checkpoint = checkpoint_of(trial(text), folder)
    checkpoint.with_name(".checkpoint.safetensors.99").write_bytes(b"half a checkpoint")
    resumed = train_language_model(trial(text), folder, rows=3, device="cpu")
    assert losses(resumed) == losses(whole)
    assert len(resumed) == STEPS // EVERY
    weights = [load_model(each).state_dict() for each in (folder, tmp_path / "whole")]
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[1])
    assert not (folder / "results.db.trials").exists()


def test_two_processes_as_one(text, tmp_path):
    """Up to rounding: the same sums in another order."""
    alone = train_language_model(trial(text), tmp_path / "alone", rows=3, device="cpu")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    settings = {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    settings |= {"GLOO_SOCKET_IFNAME": "lo"}
    processes = [
        forked.start(
            apart.train,
            text,
            tmp_path / "together",
            0.0,
            settings | {"RANK": str(rank), "LOCAL_RANK": str(rank)},
        )
        for rank in range(2)
    ]
    for process in processes:
        process.join()
        assert process.exitcode == 0
    together = train_language_model(trial(text), tmp_path / "together", device="cpu")
    for one, other in zip(losses(alone), losses(together), strict=True):
        assert one == pytest.approx(other, rel=1e-4)


def test_validation_on_hits_is_that_of_a_count_by_hand(text):
    config = trial(text)
    task, model = config.task, build_model(config)
    shards = task.data.shards("train")
    (windows,) = held_out(task, 40, config.seeds, "valid")
    end = task.data.end
    assert end in windows.targets
    seen = Counter()
    for shard in shards:
        begin = 0
        for end in shard.ends:
            document = shard.tokens[begin:end].tolist()
            seen.update(pairwise(document))
            begin = end
    on_hits, all_of_them = [], []
    with torch.no_grad():
        logs = model.eval()(windows.inputs).log_softmax(-1)
    for row in range(40):
        tokens = [*windows.inputs[row].tolist(), windows.targets[row, -1].item()]
        earlier = set()
        for t in range(1, len(tokens)):
            bigram = tokens[t - 1], tokens[t]
            all_of_them.append(-logs[row, t - 1, tokens[t]].item())
            if bigram in earlier and seen[bigram] <= 1250 and end not in bigram:
                on_hits.append(all_of_them[-1])
            earlier.add(bigram)
    metrics = evaluate(model, [windows], task.metrics)
    assert 0 < len(on_hits) < len(all_of_them)
    assert metrics.further[HIT_SHARE].value == pytest.approx(len(on_hits) / len(all_of_them))
    assert metrics.further[HIT_LOSS].value == pytest.approx(sum(on_hits) / len(on_hits), rel=1e-5)
    assert metrics.loss == pytest.approx(sum(all_of_them) / len(all_of_them), rel=1e-5)


def test_bigrams_with_the_end_of_a_document_are_no_hits(text):
    task = trial(text).task
    end, counts = task.data.end, count_ngrams(task.data.shards("train"), 2, task.data.folder)
    one, two = task.data.tokenizer.encode(["zq"])[0]
    row = torch.tensor([[one, two, end, one, two, end, one, two]])
    windows = Batch(row[:, :-1], None, row[:, 1:])
    repeated = [False, False, False, True, True, True, True]
    assert hits_among(windows, counts).tolist() == [repeated]
    inside = [False, False, False, True, False, False, True]
    assert hits_among(windows, counts, end).tolist() == [inside]


def test_common_bigrams_are_no_hits(text, monkeypatch):
    task = trial(text).task
    counts = count_ngrams(task.data.shards("train"), 2, task.data.folder)
    batch = task.sample(20, seed=0)
    monkeypatch.setattr("recollect.language.hit_metrics.MAX_TRAIN_COUNTS", (0,))
    assert not hits_among(batch, counts).any()  # every bigram of the train part occurs in it


def test_whose_folder_it_is(text, tmp_path):
    folder = tmp_path / "model"
    train_language_model(trial(text), folder, device="cpu")
    with pytest.raises(UserError) as caught:
        train_language_model(
            trial(text, learning_rate=1e-3, betas=(0.9, 0.99)), folder, device="cpu"
        )
    assert str(caught.value).endswith(
        "holds a training with train.betas=[0.9, 0.95] in place of [0.9, 0.99],"
        " train.learning_rate=0.01 in place of 0.001: give the same settings to resume it, or"
        " use another folder"
    )
    (folder / "results.db").unlink()
    with pytest.raises(UserError, match=r"holds recollect\.json but no training in results\.db"):
        train_language_model(trial(text), folder, device="cpu")


def test_a_folder_in_use(text, tmp_path):
    """By a training with the same settings or others, from before its first step on."""
    with opened(trial(text), tmp_path) as training, training.reserved():
        for asked in (trial(text), trial(text, learning_rate=1e-3)):
            with pytest.raises(UserError, match="another process is training in"):
                train_language_model(asked, tmp_path, device="cpu")
            with (
                opened(asked, tmp_path) as other,
                pytest.raises(UserError, match="another process is training in"),
                other.reserved(),
            ):
                pytest.fail("claimed twice")


def test_a_training_that_another_process_has_taken_over_ends(text, tmp_path):
    """As it stood still for longer than its lease holds."""
    store = tmp_path / "model" / "results.db"

    def take_over(moment):
        with Store(store) as opened, opened.transaction() as connection:
            connection.execute("UPDATE leases SET owner = 'another'")

    watch = Watch(on_validated=take_over)
    with pytest.raises(UserError, match="another process has taken over the training in"):
        train_language_model(trial(text), tmp_path / "model", device="cpu", watch=watch)
    assert not (tmp_path / "model" / "recollect.json").exists()


def test_a_model_from_elsewhere_is_not_written_over(text, tmp_path):
    for name in ("config.json", "model.safetensors", "tokenizer.json"):
        folder = tmp_path / name.partition(".")[0]
        folder.mkdir()
        (folder / name).write_text("theirs")
        with pytest.raises(UserError, match=f"holds {name} but no training in results.db"):
            train_language_model(trial(text), folder, device="cpu")
        assert [(path.name, path.read_text()) for path in folder.iterdir()] == [(name, "theirs")]


def test_folders_of_an_earlier_version(text, tmp_path):
    """They had a trial.json in place of a store."""
    folder = tmp_path / "model"
    train_language_model(trial(text), folder, device="cpu")
    (folder / "results.db").rename(folder / "trial.json")
    assert open_pretrained(str(folder)).max_len == 16
    with pytest.raises(UserError, match=r"model was finished by an earlier version"):
        train_language_model(trial(text), folder, device="cpu")
    (folder / "recollect.json").unlink()
    for use in (
        lambda: train_language_model(trial(text), folder, device="cpu"),
        lambda: open_pretrained(str(folder)),
    ):
        with pytest.raises(UserError, match=r"unfinished training of an earlier version"):
            use()


class Broken(nn.Module):
    """Fails as it is built, or as it first reads."""

    def __init__(self, d_model: int, when: str) -> None:
        super().__init__()
        if when == "built":
            raise UserError("not this d_model")
        self.linear = nn.Linear(d_model, d_model)

    def forward(self, x):  # noqa: ARG002
        raise UserError("not this length")


@pytest.mark.parametrize("fault", ["built", "read", "context", "tokenizer"])
def test_what_fails_before_its_first_step_leaves_the_folder_free(fault, text, tmp_path):
    good, folder = trial(text), tmp_path / "model"
    bad = {
        "context": lambda: good.replace(task=good.task.replace(seq_len=4000)),
        "tokenizer": lambda: good.replace(task=good.task.replace(tokenizer="missing")),
    }.get(fault, lambda: good.replace(model=broken(fault)))
    with pytest.raises(UserError):
        train_language_model(bad(), folder, device="cpu")
    assert not (folder.exists() and {path.name for path in folder.iterdir()} - {"results.db"})
    assert len(train_language_model(good, folder, device="cpu")) == STEPS // EVERY


def broken(when):
    return ModelConfig(mixer=mixer(Broken, when=when), d_model=8, n_layers=1)


class Counts(nn.Module):
    """What it does depends on how often it was trained, which its weights do not hold."""

    def __init__(self, d_model: int) -> None:
        super().__init__()
        self.linear, self.times = nn.Linear(d_model, d_model), 0

    def forward(self, x):
        self.times += self.training
        return self.linear(x) * (1 + 0.1 * self.times)


def test_a_model_that_weights_do_not_restore_is_warned_of(text, tmp_path, monkeypatch):
    monkeypatch.setattr("recollect.training.trial.CHECKPOINT_SECONDS", 0.0)
    counts = ModelConfig(mixer=mixer(Counts), d_model=8, n_layers=1)
    said = rf"{tmp_path}/model do not restore the model: its forward pass changes .*times"
    with (
        pytest.warns(UserWarning, match="cannot be checkpointed"),
        pytest.warns(UserWarning, match=said),
    ):
        train_language_model(trial(text).replace(model=counts), tmp_path / "model", device="cpu")


def test_a_training_without_end_tokens(text, tmp_path):
    joined = trial(text, end_of_text=False)
    train_language_model(joined, tmp_path / "model", device="cpu")
    opened = open_pretrained(str(tmp_path / "model"))
    assert (opened.begins_with, opened.longest_text) == ("", 16)
    with pytest.raises(UserError, match=r"task\.end_of_text=None in place of True"):
        train_language_model(trial(text), tmp_path / "model", device="cpu")


def test_another_version_does_not_go_on(text, tmp_path, monkeypatch):
    begin(trial(text), tmp_path / "model")
    monkeypatch.setattr("recollect.training.config.NUMERICS", 99)
    with pytest.raises(UserError, match="a training with another version of the trainer"):
        train_language_model(trial(text), tmp_path / "model", device="cpu")


def begin(config, folder):
    """As a training does that was killed in its first step."""
    with opened(config, folder) as training:
        training.begin()


def test_a_folder_within_the_text(text, tmp_path):
    story = tmp_path / "story"
    story.mkdir()
    text.rename(story / "a.jsonl")
    with pytest.raises(UserError, match=r"model lies in the folder .*story"):
        train_language_model(trial(story), story / "model", device="cpu")
    assert [path.name for path in story.iterdir()] == ["a.jsonl"]


def test_a_truncated_checkpoint_is_named(text, tmp_path, monkeypatch):
    monkeypatch.setattr("recollect.training.trial.CHECKPOINT_SECONDS", 0.0)

    class Stopped(Exception):
        pass

    def stop(moment):
        raise Stopped

    with pytest.raises(Stopped):
        train_language_model(
            trial(text), tmp_path / "model", device="cpu", watch=Watch(on_validated=stop)
        )
    path = checkpoint_of(trial(text), tmp_path / "model")
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(UserError, match=r"checkpoint\.safetensors is damaged"):
        train_language_model(trial(text), tmp_path / "model", device="cpu")


def test_losses_without_a_perplexity():
    assert perplexity(1e4) == math.inf


def test_a_model_that_is_lost_is_reported(text, tmp_path):
    folder, config = tmp_path / "model", trial(text)
    train_language_model(config, folder, device="cpu")
    weights = folder / "model.safetensors"
    for path, content, message in (
        (weights, None, r"there is no .*safetensors: put the file back, or remove the folder"),
        (weights, weights.read_bytes()[:-9], r"safetensors is damaged .*: put the file back, or"),
        (weights, b"", "is damaged .*: put the file back"),
        (folder / "recollect.json", None, r"there is no .*recollect\.json: put the file back"),
    ):
        whole = path.read_bytes()
        path.unlink() if content is None else path.write_bytes(content)
        with pytest.raises(UserError, match=message):
            train_language_model(config, folder, device="cpu")
        path.write_bytes(whole)
    assert len(train_language_model(config, folder, device="cpu")) == STEPS // EVERY


def test_a_training_without_an_end_is_no_model(text, tmp_path, monkeypatch):
    folder, config = tmp_path / "model", trial(text)
    begin(config, folder)
    with pytest.raises(UserError, match=r"the training in .*model is not finished: run its train"):
        open_pretrained(str(folder))

    def diverge(trained, *_, **__):
        return float("nan") if trained.run.step == 5 else 5.0

    monkeypatch.setattr("recollect.training.trial.training_step", diverge)
    for _ in range(2):
        with pytest.raises(
            UserError,
            match=r"^learning_rate=0\.01: the loss became NaN or inf at step 6; choose a smaller"
            " rate, and another folder$",
        ):
            train_language_model(config, folder, device="cpu")
    with pytest.raises(UserError, match=r"the training in .*model diverged: the loss became NaN"):
        open_pretrained(str(folder))


def test_losses_that_are_no_numbers_end_it(text, tmp_path):
    steep = trial(text, learning_rate=1e30, grad_clip=None, warmup=0.0)
    with pytest.raises(UserError, match=r"learning_rate=1e\+30: the loss became NaN or"):
        train_language_model(steep, tmp_path / "model", device="cpu")
