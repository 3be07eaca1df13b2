"""Losses of models on a text, against one forward pass for each token."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from by_dict import windows_of
from made_tokenizers import template, with_control, write
from small_texts import corpus, shards, texts, tokenizer
from tiny_models import ours, theirs
from transformers import (
    AutoModelForCausalLM,
    BartConfig,
    CamembertConfig,
    GPT2Config,
    MambaConfig,
    MarianConfig,
    MptConfig,
    RobertaConfig,
    T5Config,
)

from recollect.errors import UserError
from recollect.language import losses as losses_module
from recollect.language.compare import compare
from recollect.language.losses import measure_losses
from recollect.language.model_folder import load_model
from recollect.language.pretrained import open_pretrained
from recollect.language.shards import make_shards
from recollect.language.tokenizer_files import load_tokenizer
from recollect.language.windows import Windows

CPU = torch.device("cpu")
TEXTS = ["a", *texts(6, seed=1, longest=45), "the cat"]


def one_by_one(model, documents, context, stride):
    """For each predicted token: read what is before it in its window, nothing else."""
    expected = []
    for document in documents:
        for first, targets in windows_of(len(document), context, stride):
            for t in targets:
                out = model(torch.tensor([document[first:t]]))
                logits = getattr(out, "logits", out)[0, -1]
                expected.append(-logits.log_softmax(-1)[document[t]].item())
    return expected


def measured(folder, shard_list, windows, tmp_path, **options):
    model = open_pretrained(str(folder))
    found = measure_losses(model, shard_list, windows, tmp_path, device=CPU, **options)
    return np.concatenate([found[i] for i in range(len(shard_list))])


@pytest.mark.parametrize(
    ("kind", "cut"),
    [
        ("gpt2", (16, 16)),
        ("gpt2", (16, 5)),
        ("mamba", (16, 16)),
        ("rwkv", (16, 5)),
        ("ours", (9, 9)),
    ],
)
@torch.no_grad()
def test_losses_are_those_of_one_token_after_the_other(kind, cut, tmp_path, monkeypatch):
    monkeypatch.setattr(losses_module, "LOGITS_AT_ONCE", 3 * 16 * tokenizer().vocab_size)
    if kind == "ours":
        folder, model = ours(tmp_path / "model")
    else:
        folder = theirs(tmp_path / "model", kind)
        model = AutoModelForCausalLM.from_pretrained(folder).eval()
    shard_list = shards(TEXTS, tmp_path)
    context, stride = cut
    found = measured(folder, shard_list, Windows(context=context, stride=stride), tmp_path)
    documents = [tokens for tokens in tokenizer().encode(TEXTS) if len(tokens) > 1]
    expected = one_by_one(model, documents, context, stride)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)
    assert np.std(expected) > 0.5


def test_one_pass_is_enough(tmp_path):
    folder = theirs(tmp_path / "model")
    shard_list, windows = shards(TEXTS, tmp_path), Windows(context=16, stride=16)
    progress = []
    first = measured(
        folder, shard_list, windows, tmp_path, on_progress=lambda *done: progress.append(done)
    )
    assert progress[-1] == (len(first), len(first))
    (made,) = tmp_path.glob("losses-*")
    again = measured(
        folder, shard_list, windows, tmp_path, on_progress=lambda *_: pytest.fail("read again")
    )
    assert again.tolist() == first.tolist()
    theirs(folder, seed=1)
    assert measured(folder, shard_list, windows, tmp_path).tolist() != first.tolist()
    assert len(list(tmp_path.glob("losses-*"))) == 2
    assert json.loads((made / "manifest.json").read_text())["about"]["context"] == 16


def test_an_interrupted_pass_goes_on(tmp_path):
    folder = theirs(tmp_path / "model")
    some = texts(12, seed=1)
    shard_list, windows = shards(some, tmp_path), Windows(context=16, stride=16)
    assert len(shard_list) > 2
    whole = measured(folder, shard_list, windows, tmp_path / "whole")
    goal = sum(len(shard_list[i].tokens) - len(shard_list[i].ends) for i in (0, 1))
    seen = []

    def stop(done, _):
        seen.append(done)
        if done > goal:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        measured(folder, shard_list, windows, tmp_path, on_progress=stop)
    passed = []
    found = measured(
        folder, shard_list, windows, tmp_path, on_progress=lambda done, _: passed.append(done)
    )
    assert found.tolist() == whole.tolist()
    assert passed[1] == goal, "two at once, which were read before"


def test_our_models_come_back_from_their_folder(tmp_path):
    folder, model = ours(tmp_path / "model")
    again = load_model(folder)
    inputs = torch.randint(tokenizer().vocab_size, (2, 9))
    assert torch.equal(again(inputs), model(inputs))
    assert (again.config, again.max_len) == (model.config, model.max_len)
    opened = open_pretrained(str(folder))
    assert (opened.max_len, opened.vocab_size) == (64, tokenizer().vocab_size)
    assert opened.tokenizer.digest == tokenizer().digest


def test_damaged_folders_of_ours(tmp_path):
    folder, _ = ours(tmp_path / "model")
    weights, config = folder / "model.safetensors", folder / "recollect.json"
    whole, stored = weights.read_bytes(), json.loads(config.read_text())
    weights.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(UserError, match=r"model\.safetensors is damaged"):
        load_model(folder)
    weights.write_bytes(whole)
    stored["model"]["d_model"] = 32
    for text, message in {
        json.dumps(stored): "holds the weights of another model",
        "{": r"recollect\.json is damaged",
        '{"format": 9}': "another version: format 9",
        json.dumps(stored | {"model": {"mixer": "mambo"}}): r"recollect\.json: .*'mambo'",
    }.items():
        config.write_text(text)
        with pytest.raises(UserError, match=message):
            load_model(folder)


def test_models_that_cannot_be_measured(tmp_path):
    shard_list, windows = shards(TEXTS, tmp_path), Windows(context=16, stride=16)
    small = theirs(tmp_path / "small", vocab_size=270)
    with pytest.raises(UserError, match="has 270 token ids, but its tokenizer has 280"):
        open_pretrained(str(small))
    (tmp_path / "nothing").mkdir()
    with pytest.raises(UserError, match="nothing has no model"):
        open_pretrained(str(tmp_path / "nothing"))
    with pytest.raises(
        UserError, match="some/name is not a local folder and could not be downloaded"
    ):
        open_pretrained("some/name")
    with pytest.raises(UserError, match="is not a local folder"):
        open_pretrained("no name/of/a model")
    for name, message in {
        "bert": "bert reads ahead",
        "cut": "cannot load the model in .*cut",
        "pickled": r"no safetensors weights.*pickled'\)\.save_pretrained\(FOLDER\)",
        "headless": "has no weights for lm_head",
        "broken": "gives NaN as logits",
    }.items():
        folder = theirs(tmp_path / name, "bert" if name == "bert" else "gpt2")
        spoil(name, folder)
        with pytest.raises(UserError, match=message):
            measured(folder, shard_list, windows, tmp_path)
    assert not list(tmp_path.glob("losses-*"))


def spoil(name, folder):
    weights = folder / "model.safetensors"
    if name == "cut":
        weights.write_bytes(weights.read_bytes()[:-100])
    if name == "pickled":
        weights.rename(folder / "pytorch_model.bin")
    if name in ("headless", "broken"):
        model = AutoModelForCausalLM.from_pretrained(folder)
        if name == "headless":
            model.config.tie_word_embeddings = False
            model.transformer.config.tie_word_embeddings = False
            model.transformer.save_pretrained(folder)
        else:
            model.transformer.wpe.weight.data[12] = float("nan")
            model.save_pretrained(folder)


@pytest.mark.parametrize(
    ("config", "longest"),
    [
        (GPT2Config(n_positions=24), 24),
        (MptConfig(max_seq_len=20), 20),
        (RobertaConfig(max_position_embeddings=34, pad_token_id=1), 32),
        (CamembertConfig(max_position_embeddings=34, pad_token_id=3), 30),
        (MambaConfig(), None),
    ],
)
def test_how_long_a_text_a_model_reads(config, longest, tmp_path):
    config.vocab_size = tokenizer().vocab_size
    config.save_pretrained(tmp_path)
    tokenizer().save(tmp_path / "tokenizer.json")
    (tmp_path / "model.safetensors").touch()
    assert open_pretrained(str(tmp_path)).max_len == longest


@pytest.mark.parametrize("config", [T5Config(), BartConfig(), MarianConfig()])
def test_an_encoder_decoder_is_called_that(config, tmp_path):
    config.save_pretrained(tmp_path)
    with pytest.raises(UserError, match=f"is an encoder-decoder \\({config.model_type}\\): "):
        open_pretrained(str(tmp_path))


def test_weights_that_cannot_be_read(tmp_path):
    folder = theirs(tmp_path / "model")
    (folder / "model.safetensors").unlink()
    (folder / "model.safetensors").mkdir()
    with pytest.raises(UserError, match=r"cannot read .*model\.safetensors: "):
        open_pretrained(str(folder))


def test_a_model_that_fails_at_a_length_says_so(tmp_path):
    """One that does not say how much it reads."""
    folder = theirs(tmp_path / "model", max_len=12)
    opened = replace(open_pretrained(str(folder)), max_len=None)
    found, windows = shards(TEXTS, tmp_path), Windows(context=16, stride=16)
    with pytest.raises(UserError, match=r"context=16: the model .*model fails on .* smaller"):
        measure_losses(opened, found, windows, tmp_path, device=CPU)


def test_a_model_with_more_tokens_than_the_tokenizer(tmp_path):
    """Padded vocabularies are common; the tokens beyond have their share of the probability."""
    folder = theirs(tmp_path / "model", vocab_size=320)
    found = make_shards(corpus(TEXTS), tokenizer(), tmp_path)
    assert measured(folder, found, Windows(context=16, stride=16), tmp_path).min() > 0


@torch.no_grad()
@pytest.mark.parametrize("single", ["<s> $A", "<s> </s> $A </s>"])
def test_windows_are_read_behind_what_the_template_puts_there(single, tmp_path):
    """Each window of its own; the tokens in front of it are never predicted."""
    folder = theirs_with(tmp_path / "model", single)
    model = AutoModelForCausalLM.from_pretrained(folder).eval()
    before = load_tokenizer(str(folder)).template.before
    shard_list = make_shards(corpus(TEXTS), load_tokenizer(str(folder)), tmp_path)
    found = measured(folder, shard_list, Windows(context=16, stride=9), tmp_path)
    expected = []
    for document in (tokens for tokens in tokenizer().encode(TEXTS) if len(tokens) > 1):
        for first, targets in windows_of(len(document), 16, 9):
            for t in targets:
                read = torch.tensor([[*before, *document[first:t]]])
                logs = model(read).logits[0, -1].log_softmax(-1)
                expected.append(-logs[document[t]].item())
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


def test_losses_behind_another_token_are_others(tmp_path):
    """The same weights and text; what is in front of each window is a part of the key."""
    folder = theirs_with(tmp_path / "model", "<s> $A")
    shard_list = make_shards(corpus(TEXTS), load_tokenizer(str(folder)), tmp_path)
    windows = Windows(context=16, stride=16)
    first = measured(folder, shard_list, windows, tmp_path)
    write(with_control("<s>", "</s>"), folder)
    second = measured(folder, shard_list, windows, tmp_path)
    assert abs(first - second).max() > 0.01
    assert len(list(tmp_path.glob("losses-*"))) == 2
    write(template(with_control("<s>", "</s>"), "<s> $A"), folder)
    options = {"on_progress": lambda *_: pytest.fail("read again")}
    assert measured(folder, shard_list, windows, tmp_path, **options).tolist() == first.tolist()


def test_models_with_and_without_bos_compare_on_the_same_tokens(tmp_path):
    (tmp_path / "some.jsonl").write_text(
        "".join(json.dumps({"text": text}) + "\n" for text in texts(9, longest=60))
    )
    folders = [
        str(theirs_with(tmp_path / name, single, max_len=24))
        for name, single in (("plain", None), ("begun", "<s> $A"))
    ]
    text, found = str(tmp_path / "some.jsonl"), {}
    for names in (folders[:1], folders):
        found[len(names)] = compare(
            names, text=text, train_text=text, folder=tmp_path / "kept", context=23, device="cpu"
        )
    alone, both = found[1].gap, found[2].gap
    assert both["hit_share"].nunique() == both["max_train_count"].nunique()
    same = both[both["model"] == "plain"].reset_index(drop=True)
    for column in ("tokens", "hit_share", "log_perplexity", "log_perplexity_hits"):
        assert same[column].tolist() == alone[column].tolist()
    settings = found[2].settings
    assert settings["begins_with"] == {"plain": "", "begun": "<s>"}
    assert (settings["context"], settings["unknown_tokens"]) == (23, 0)
    without = compare(folders, text=text, train_text=text, folder=tmp_path / "kept", device="cpu")
    assert without.settings["context"] == 23
    message = r"context=24: the model .*begun reads at most 23 tokens behind <s>"
    with pytest.raises(UserError, match=message):
        compare(folders, text=text, train_text=text, folder=tmp_path, context=24, device="cpu")
    with pytest.raises(UserError, match="stride=0"):
        compare(folders, text=text, train_text=text, folder=tmp_path, stride=0, device="cpu")


def theirs_with(folder, single, **options):
    """A GPT-2 whose tokenizer has control tokens, and a template."""
    theirs(folder, vocab_size=300, **options)
    backend = with_control("<s>", "</s>")
    return write(backend if single is None else template(backend, single), folder)


def test_a_model_without_a_tokenizer(tmp_path):
    for kind in ("gpt2", "mamba", "rwkv"):
        folder = theirs(tmp_path / kind, kind)
        (folder / "tokenizer.json").unlink()
        with pytest.raises(UserError, match=rf"{kind} has no tokenizer: expected a tokenizer"):
            open_pretrained(str(folder))
