"""Control tokens: what begins and ends a text, and those that a text spells."""

import json

import pytest
from made_tokenizers import (
    between_spaces,
    deaf,
    of_letters,
    pieces,
    template,
    with_control,
    write,
)
from small_texts import corpus, texts, tokenizer
from transformers import AutoTokenizer

from recollect.config import digest
from recollect.errors import UserError
from recollect.language.shards import make_shards
from recollect.language.tokenizer import IDENTITY, Tokenizer
from recollect.language.tokenizer_files import load_tokenizer, train_tokenizer

BOS, EOS = 280, 281
TEMPLATES = {
    None: ((), ()),
    "<s> $A": ((BOS,), ()),
    "<s> $A </s>": ((BOS,), (EOS,)),
    "$A </s>": ((), (EOS,)),
    "<s> </s> $A": ((BOS, EOS), ()),
}


def folder_with(tmp_path, single, **settings):
    backend = with_control("<s>", "</s>")
    if single is not None:
        template(backend, single)
    return write(backend, tmp_path / "model", tokenizer_class="TokenizersBackend", **settings)


@pytest.mark.parametrize("single", TEMPLATES)
def test_the_template_decides(single, tmp_path):
    """As `transformers` reads the folder."""
    folder = folder_with(tmp_path, single, bos_token="<s>", eos_token="</s>")
    cutter = load_tokenizer(str(folder))
    before, after = cutter.template
    assert (before, after) == TEMPLATES[single]
    (text,) = cutter.encode(["the cat"])
    assert AutoTokenizer.from_pretrained(folder)("the cat").input_ids == [*before, *text, *after]


@pytest.mark.parametrize("single", [None, "<s> $A </s>"])
@pytest.mark.parametrize("adds", [True, False])
@pytest.mark.parametrize("form", [str, lambda text: {"content": text}])
def test_the_setting_beside_it_decides_where_there_is_one(single, adds, form, tmp_path):
    settings = {"bos_token": form("<s>"), "eos_token": form("</s>"), "add_bos_token": adds}
    cutter = load_tokenizer(str(folder_with(tmp_path, single, **settings)))
    assert cutter.template == (((BOS,) if adds else ()), ())
    assert cutter.end_of_text == EOS
    settings["add_eos_token"] = True
    cutter = load_tokenizer(str(folder_with(tmp_path, single, **settings)))
    assert cutter.template.after == (EOS,)


def test_a_bos_that_the_vocabulary_lacks(tmp_path):
    folder = folder_with(tmp_path, "<s> $A", bos_token="<bos>", add_bos_token=True)
    assert load_tokenizer(str(folder)).template == ((BOS,), ())


def test_which_token_ends_a_text(tmp_path):
    assert tokenizer().end_of_text is None
    learnt = train_tokenizer(texts(50), 280, end_of_text=True)
    assert learnt.vocab_size == 280
    assert learnt.names([learnt.end_of_text]) == ["<|endoftext|>"]
    learnt.save(tmp_path / "mine.json")
    assert load_tokenizer(str(tmp_path / "mine.json")).end_of_text == learnt.end_of_text
    folder = folder_with(tmp_path, None)
    assert load_tokenizer(str(folder)).end_of_text is None
    (folder / "special_tokens_map.json").write_text('{"eos_token": "</s>"}')
    assert load_tokenizer(str(folder)).end_of_text == EOS
    (folder / "special_tokens_map.json").write_text("[]")
    with pytest.raises(UserError, match=r"special_tokens_map\.json is damaged"):
        load_tokenizer(str(folder))


@pytest.mark.parametrize("spelled", ["<|endoftext|>", "</s>", "[INST]", "<s>", "[CLS] [SEP]"])
def test_control_tokens_in_a_document_are_text(spelled, tmp_path):
    control = ["<|endoftext|>", "<s>", "</s>", "[INST]", "[CLS]", "[SEP]"]
    cutter = load_tokenizer(str(write(with_control(*control), tmp_path)))
    text = f"the cat{spelled}sat {spelled} "
    (tokens,) = cutter.encode([text])
    assert max(tokens) < 280
    assert cutter.decode(tokens) == text
    assert tokens == tokenizer().encode([text])[0]
    assert cutter.cut([text])[0].tokens == tokens
    learnt = train_tokenizer([text] * 9, 300, end_of_text=True)
    (tokens,) = learnt.encode([text])
    assert learnt.decode(tokens) == text
    assert learnt.end_of_text not in tokens


@pytest.mark.parametrize(
    "settings",
    [
        {"eos_token": "[INST]"},
        {"additional_special_tokens": ["[INST]"]},
        {"extra_special_tokens": {"instruction": {"content": "[INST]"}}},
        {"added_tokens_decoder": {"280": {"content": "[INST]", "special": True}}},
    ],
)
def test_a_token_is_a_control_token_if_the_settings_beside_say_so(settings, tmp_path):
    """Others that were added are words of a text."""
    backend = with_control()
    backend.add_tokens(["[INST]", "catcat"])
    cutter = load_tokenizer(str(write(backend, tmp_path, **settings)))
    assert cutter.encode(["[INST]"]) == tokenizer().encode(["[INST]"])
    assert cutter.encode(["catcat"]) == [[281]]
    settings = {"added_tokens_decoder": {"280": {"content": "[INST]", "special": False}}}
    assert load_tokenizer(str(write(backend, tmp_path, **settings))).encode(["[INST]"]) == [[280]]


@pytest.mark.parametrize("adds", [True, False])
def test_a_folder_in_an_older_form_adds_bos_if_it_says_so(adds, tmp_path):
    model = json.loads(tokenizer().backend.to_str())["model"]
    (tmp_path / "vocab.json").write_text(json.dumps(model["vocab"] | {"</s>": 280}))
    merges = [pair if isinstance(pair, str) else " ".join(pair) for pair in model["merges"]]
    (tmp_path / "merges.txt").write_text("\n".join(["#version: 0.2", *merges]))
    (tmp_path / "config.json").write_text('{"model_type": "opt"}')
    settings = {"bos_token": "</s>", "eos_token": "</s>", "add_bos_token": adds}
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(settings))
    cutter = load_tokenizer(str(tmp_path))
    assert cutter.template == (((280,) if adds else ()), ())
    assert cutter.end_of_text == 280
    assert cutter.encode(["the</s>cat"]) == tokenizer().encode(["the</s>cat"])


@pytest.mark.parametrize("cutter", [between_spaces(), pieces()])
def test_control_tokens_that_cannot_be_text_are_refused(cutter, tmp_path):
    for text in ("bad </s> acid", "</s>"):
        with pytest.raises(UserError, match=r"the text contains '</s>'.*control token: remove it"):
            cutter.encode(["bad", text])
    with pytest.raises(UserError, match=r"document 1 \(from 0\) of the text: .* '</s>'"):
        make_shards(corpus(["able acid bad", "aged </s> also"]), cutter, tmp_path)
    assert cutter.unknown in cutter.encode(["bad xyz"])[0]


def test_what_is_not_added_but_named_is_a_control_token(tmp_path):
    backend = between_spaces().backend
    spec = json.loads(backend.to_str())
    spec["added_tokens"] = []
    (tmp_path / "tokenizer.json").write_text(json.dumps(spec))
    assert load_tokenizer(str(tmp_path)).encode(["able </s>"])
    (tmp_path / "tokenizer_config.json").write_text('{"eos_token": "</s>"}')
    with pytest.raises(UserError, match="the text contains '</s>'"):
        load_tokenizer(str(tmp_path)).encode(["able </s>"])


def test_other_tokens_have_another_digest():
    """Texts that were kept are cut anew where control tokens were not text."""
    plain, control = tokenizer(), Tokenizer(with_control("<s>"))
    for cutter, same in ((plain, True), (control, False)):
        spec = json.loads(cutter.backend.to_str())
        assert (cutter.digest == digest({name: spec[name] for name in IDENTITY})) == same
    assert Tokenizer(template(with_control("<s>"), "<s> $A")).digest == control.digest


@pytest.mark.parametrize("kind", ["empty", "unknown", "nothing"])
def test_a_tokenizer_that_reads_nothing(kind, tmp_path):
    backend = deaf(kind)
    backend.save(str(tmp_path / "tokenizer.json"))
    with pytest.raises(UserError, match=r"tokenizer\.json gives no tokens or only"):
        load_tokenizer(str(tmp_path))


@pytest.mark.parametrize("kind", ["gpt2", "llama", "mamba", "bert", "t5", "gemma", "nonsense"])
def test_a_folder_without_a_tokenizer(kind, tmp_path):
    (tmp_path / "config.json").write_text(json.dumps({"model_type": kind}))
    with pytest.raises(UserError, match=r"has no tokenizer: expected a tokenizer\.json"):
        load_tokenizer(str(tmp_path))


def test_a_text_that_the_tokenizer_does_not_know(tmp_path):
    """It is the tokenizer that is told of, not the text."""
    russian = ["быстрая лиса " * 9, "ленивая собака " * 9]
    with pytest.raises(UserError, match=r"only unknown tokens of a text, which has 2\d\d char"):
        make_shards(corpus(russian), between_spaces(), tmp_path / "a")
    letters = of_letters("abc")
    with pytest.raises(UserError, match="no two tokens in any document of a text"):
        make_shards(corpus(russian), letters, tmp_path / "b")
    known = make_shards(corpus(["able acid лиса", "aged"]), between_spaces(), tmp_path / "c")
    assert (known.unknown, known.tokens, known.too_short) == (1, 3, 1)
