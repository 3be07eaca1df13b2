"""Tokenizers trained on a text, and loaded from a file, a folder or the hub."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from recollect.config import digest
from recollect.errors import UserError, in_a_line
from recollect.files import replacing
from recollect.language.control import END_OF_TEXT, Named, read_named
from recollect.language.corpus import Corpus
from recollect.language.extras import optional
from recollect.language.hub import local_folder
from recollect.language.kept import keep
from recollect.language.tokenizer import BYTES, TOKENIZER_FILE, Tokenizer


def train_tokenizer(
    texts: Iterable[str], vocab_size: int, *, end_of_text: bool = False
) -> Tokenizer:
    """Train a byte-level BPE tokenizer (Sennrich et al., 2016; on bytes as in GPT-2).

    Args:
        texts: the texts; read once.
        vocab_size: number of token ids; the result has fewer if the texts are too short.
        end_of_text: whether one of them is the control token `END_OF_TEXT`.

    Raises:
        UserError: if the vocabulary cannot hold all bytes.
    """
    least = BYTES + end_of_text
    if vocab_size < least:
        more = " and one for the end of a text" if end_of_text else ""
        raise UserError(
            f"vocab_size={vocab_size}: expected at least {least}, one for each byte{more}"
        )
    tokenizers = optional("tokenizers")
    backend = tokenizers.Tokenizer(tokenizers.models.BPE())
    backend.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = tokenizers.decoders.ByteLevel()
    trainer = tokenizers.trainers.BpeTrainer(
        vocab_size=vocab_size,
        initial_alphabet=sorted(tokenizers.pre_tokenizers.ByteLevel.alphabet()),
        special_tokens=[END_OF_TEXT] if end_of_text else [],
        show_progress=False,
    )
    backend.train_from_iterator(texts, trainer)
    return Tokenizer(backend)


def kept_tokenizer(
    corpus: Corpus, vocab_size: int, folder: Path, *, end_of_text: bool = False
) -> Tokenizer:
    """Train a tokenizer on a text once (`train_tokenizer`); other processes wait meanwhile.

    Args:
        corpus: the text.
        vocab_size: number of token ids.
        folder: cache of tokenizers.
        end_of_text: whether one token ends a text.

    Raises:
        UserError: if it cannot be written, or the vocabulary cannot hold all bytes.
    """
    more = [END_OF_TEXT] if end_of_text else []
    path = folder / f"tokenizer-{digest([corpus.digest, vocab_size, *more])}.json"

    def make() -> None:
        texts = (each.text for each in corpus.documents())
        made = train_tokenizer(texts, vocab_size, end_of_text=end_of_text)
        with replacing(path) as temporary:
            made.save(temporary)

    keep(path, make)
    return load_tokenizer(str(path))


def load_tokenizer(name: str) -> Tokenizer:
    """Load a tokenizer.

    Args:
        name: a file such as tokenizer.json, a folder of ours or of `transformers`, or a name on the
            hub.

    Raises:
        UserError: if there is none, or it cannot read text.
    """
    path = Path(name)
    if not path.is_file():
        folder = local_folder(name)
        path = folder / TOKENIZER_FILE
        if not path.is_file():
            return _converted(folder)
    tokenizers = optional("tokenizers")
    try:
        backend = tokenizers.Tokenizer.from_file(str(path))
    except Exception as error:  # the package raises nothing more special
        raise UserError(f"{path} is damaged or not a tokenizer: {error}") from error
    named = read_named(path.parent) if path.name == TOKENIZER_FILE else Named()
    tokenizer = Tokenizer(backend, named)
    if not tokenizer.reads_text():
        raise UserError(
            f"the tokenizer {path} gives no tokens or only unknown ones for ordinary text: expected"
            " the one that the model was trained with"
        )
    return tokenizer


def _converted(folder: Path) -> Tokenizer:
    """Load a tokenizer that `transformers` has stored in an older format."""
    transformers = optional("transformers")
    missing = (
        f"{folder} has no tokenizer: expected a {TOKENIZER_FILE}, or a vocabulary that transformers"
        " can convert; use tokenizer.save_pretrained to write one"
    )
    try:
        loaded = transformers.AutoTokenizer.from_pretrained(folder, trust_remote_code=False)
    except Exception as error:  # errors of the converters have no common base
        raise UserError(f"{missing} ({in_a_line(error)})") from error
    if not hasattr(loaded, "backend_tokenizer"):
        raise UserError(
            f"the tokenizer of {folder} is not one of the package tokenizers: expected a"
            f" {TOKENIZER_FILE}, or a vocabulary that transformers can convert"
        )
    tokenizer = Tokenizer(loaded.backend_tokenizer, Named(loaded.bos_token, loaded.eos_token))
    # transformers returns an empty tokenizer if it finds no vocabulary
    if not tokenizer.reads_text():
        raise UserError(missing)
    return tokenizer
