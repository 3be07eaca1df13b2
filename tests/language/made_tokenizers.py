"""Tokenizers of many kinds, with vocabularies of a few tokens."""

import json
from pathlib import Path

import tokenizers
from small_texts import tokenizer
from tokenizers import Regex, decoders, models, normalizers, pre_tokenizers
from tokenizers.processors import TemplateProcessing

from recollect.language.tokenizer import Tokenizer
from recollect.language.tokenizer_files import train_tokenizer
from recollect.language.words import COMMON

LETTERS = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789 \n:-.,<>/[]|"
HEADINGS = ["pairs", "questions", "words", "other", "again"]
VOCABULARY = ["[UNK]", "</s>", "[CLS]", "[SEP]", ":", "-", "\n", " ", *HEADINGS]


def with_control(*tokens: str) -> tokenizers.Tokenizer:
    """A byte-level BPE with control tokens; their numbers follow those of the text."""
    backend = tokenizers.Tokenizer.from_str(tokenizer().backend.to_str())
    backend.add_special_tokens(list(tokens))
    return backend


def template(backend: tokenizers.Tokenizer, single: str) -> tokenizers.Tokenizer:
    """With a template such as `<s> $A </s>`."""
    names = [name for name in single.split() if name != "$A"]
    special = [(name, backend.token_to_id(name)) for name in names]
    backend.post_processor = TemplateProcessing(single=single, special_tokens=special)
    return backend


def write(backend: tokenizers.Tokenizer, folder: Path, **settings) -> Path:
    """A folder as `transformers` writes it."""
    folder.mkdir(parents=True, exist_ok=True)
    backend.save(str(folder / "tokenizer.json"))
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    return folder


def characters() -> Tokenizer:
    return of_letters(LETTERS)


def bytewise() -> Tokenizer:
    return train_tokenizer([], 256)


def whole_words() -> Tokenizer:
    """Words are single tokens, and so are the spaces between them."""
    return _of_words(pre_tokenizers.Split(Regex(r"[ \n:-]"), "isolated"), None)


def word_pieces() -> Tokenizer:
    """As BERT's: no line ends, no spaces, no capital letters."""
    return _of_words(pre_tokenizers.BertPreTokenizer(), normalizers.Lowercase())


def between_spaces() -> Tokenizer:
    """Every run of characters without a space is a word; `</s>` is one."""
    return _of_words(pre_tokenizers.WhitespaceSplit(), None)


def _of_words(split, normalizer) -> Tokenizer:
    words = [*VOCABULARY, *(word.capitalize() for word in HEADINGS), *COMMON.split()[:200]]
    vocabulary = {word: i for i, word in enumerate(dict.fromkeys(words))}
    backend = tokenizers.Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    backend.pre_tokenizer = split
    if normalizer is not None:
        backend.normalizer = normalizer
    backend.add_special_tokens(["[UNK]", "</s>", "[CLS]", "[SEP]"])
    return Tokenizer(backend)


def of_letters(letters: str) -> Tokenizer:
    """Other characters become nothing."""
    vocabulary = {letter: i for i, letter in enumerate(letters)}
    backend = tokenizers.Tokenizer(models.BPE(vocab=vocabulary, merges=[]))
    backend.decoder = decoders.Fuse()
    return Tokenizer(backend)


def pieces() -> Tokenizer:
    """Unigram, in whose vocabulary `</s>` is a piece."""
    scored = [("[UNK]", 0.0), ("</s>", 0.0), ("▁", -2.0), *((letter, -3.0) for letter in "abcdef")]
    backend = tokenizers.Tokenizer(models.Unigram(scored, 0))
    backend.pre_tokenizer = pre_tokenizers.Metaspace()
    backend.add_special_tokens(["[UNK]", "</s>"])
    return Tokenizer(backend)


def deaf(kind: str) -> tokenizers.Tokenizer:
    """One that makes nothing of a text, or only unknown tokens."""
    if kind == "empty":
        return tokenizers.Tokenizer(models.BPE())
    if kind == "unknown":
        backend = tokenizers.Tokenizer(models.WordLevel({"[UNK]": 0}, unk_token="[UNK]"))
        backend.pre_tokenizer = pre_tokenizers.Whitespace()
        return backend
    backend = tokenizers.Tokenizer.from_str(tokenizer().backend.to_str())
    backend.normalizer = normalizers.Replace(Regex(r"[\s\S]"), "")
    return backend
