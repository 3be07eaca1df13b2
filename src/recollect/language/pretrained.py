"""Pretrained causal language models: ours and those of `transformers`."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float, Int64
from safetensors import SafetensorError
from torch import Tensor

from recollect.errors import UserError, in_a_line
from recollect.language import model_folder
from recollect.language.control import NOTHING_AROUND, Template
from recollect.language.extras import optional
from recollect.language.hub import local_folder
from recollect.language.tokenizer import Tokenizer
from recollect.language.tokenizer_files import load_tokenizer
from recollect.language.training_folder import check_finished
from recollect.models.look_ahead import Logits, look_ahead
from recollect.tensors import cast

CHUNK = 2**24
BEHIND_PADDING = {
    *("roberta", "roberta-prelayernorm", "xlm-roberta", "xlm-roberta-xl"),
    *("camembert", "data2vec-text", "xmod"),
}
"""Model types whose positions begin after that of padding, so they read fewer tokens than they have
positions."""
PROBE = 8
"""Number of tokens in the test of whether a model is causal."""


@dataclass(frozen=True)
class Pretrained:
    """A model in a folder, whose weights are loaded on demand.

    Attributes:
        name: the user's name for it.
        folder: its folder.
        digest: digest of its weights and configuration.
        tokenizer: its tokenizer.
        vocab_size: number of token ids of the model, at least that of the tokenizer.
        max_len: most tokens that it reads, including those of the template; None: any number.
        template: tokens around a text in its training. Those before it, such as BOS, are read
            before every window and prompt; those after it are left out.
    """

    name: str
    folder: Path
    digest: str
    tokenizer: Tokenizer
    vocab_size: int
    max_len: int | None
    template: Template = NOTHING_AROUND

    @property
    def longest_text(self) -> int | None:
        """Most tokens of text that it reads after those of the template; None: any number."""
        return None if self.max_len is None else self.max_len - len(self.template.before)

    @property
    def begins_with(self) -> str:
        """Tokens that it reads before a text, such as `<s>`, or ""."""
        return "".join(self.tokenizer.names(self.template.before))

    @property
    def leaves_out(self) -> str:
        """Tokens of its template after a text, which are left out, or ""."""
        return "".join(self.tokenizer.names(self.template.after))

    @property
    def most(self) -> str:
        """Text of how much it reads: `at most 1,023 tokens behind <s>`."""
        behind = f" behind {self.begins_with}" if self.begins_with else ""
        return f"at most {self.longest_text:,} tokens{behind}"

    def check_weights(self) -> None:
        """Check that there are weights, without loading them.

        Raises:
            UserError: if there are none.
        """
        if model_folder.is_model_folder(self.folder):
            model_folder.check_weights(self.folder)
        else:
            _check_weights_of_theirs(self.name, self.folder)

    def load(self, device: torch.device) -> Logits:
        """Load the model in float32.

        It reads the template's tokens before each row and returns the logits of the row only.

        Raises:
            UserError: if the weights are missing or damaged, or the model is not causal.
        """
        self.check_weights()
        ours = model_folder.is_model_folder(self.folder)
        logits = _load_ours(self.folder, device) if ours else _load_theirs(self.folder, device)
        probe = torch.arange(min(PROBE, self.max_len or PROBE), device=device)
        ids = probe % self.vocab_size
        refuse_look_ahead(self.name, look_ahead(logits, ids[None], self.vocab_size))
        return _behind(self.template.before, logits)


def open_pretrained(name: str) -> Pretrained:
    """Open a model.

    Args:
        name: a folder of ours (`model_folder.save_model`) or of `transformers`, or a name on the
            hub.

    Raises:
        UserError: if there is no such model, its training is not finished, or its vocabulary does
            not fit its tokenizer.
    """
    folder = local_folder(name)
    check_finished(folder)
    ours = model_folder.read_shape(folder) if model_folder.is_model_folder(folder) else None
    vocab_size, max_len = ours[1:3] if ours else _limits_of_theirs(folder)
    tokenizer = load_tokenizer(str(folder))
    if tokenizer.vocab_size > vocab_size:
        raise UserError(
            f"the model {name} has {vocab_size:,} token ids, but its tokenizer has"
            f" {tokenizer.vocab_size:,}: they do not belong together"
        )
    template = Template(ours.begins_with) if ours else tokenizer.template
    return Pretrained(name, folder, _digest(folder), tokenizer, vocab_size, max_len, template)


def _limits_of_theirs(folder: Path) -> tuple[int, int | None]:
    """Vocabulary size and longest input of a model of `transformers`, without its weights."""
    try:
        config = optional("transformers").AutoConfig.from_pretrained(
            folder, trust_remote_code=False
        )
    except (OSError, ValueError) as error:
        raise UserError(f"{folder} has no model: {in_a_line(error)}") from error
    config = config.get_text_config()
    if not hasattr(config, "vocab_size"):
        raise UserError(f"the model in {folder} has no vocabulary: expected a language model")
    if config.is_encoder_decoder:
        raise UserError(
            f"the model in {folder} is an encoder-decoder ({config.model_type}): expected a causal"
            " language model"
        )
    return config.vocab_size, _longest(config)


def _longest(config: Any) -> int | None:
    """Most tokens that a model of `transformers` reads; None: its configuration sets no limit."""
    named = (getattr(config, name, None) for name in ("max_position_embeddings", "max_seq_len"))
    longest: int | None = next((value for value in named if isinstance(value, int)), None)
    if longest is not None and config.model_type in BEHIND_PADDING:
        return longest - config.pad_token_id - 1
    return longest


def _check_weights_of_theirs(name: str, folder: Path) -> None:
    if not any(folder.glob("*.safetensors")):
        raise UserError(
            f"the model {name} has no safetensors weights. Other formats are not read, because they"
            " may hold code. If you trust them, convert them with transformers:"
            f" AutoModelForCausalLM.from_pretrained({name!r}).save_pretrained(FOLDER) and"
            f" AutoTokenizer.from_pretrained({name!r}).save_pretrained(FOLDER)"
        )


def _digest(folder: Path) -> str:
    """Digest of weights and configuration; the tokenizer has its own.

    Raises:
        UserError: if a file cannot be read.
    """
    names = (model_folder.CONFIG_FILE, "config.json")
    files = [file for file in map(folder.joinpath, names) if file.is_file()]
    hashed = hashlib.sha256()
    for path in [*files, *sorted(folder.glob("*.safetensors"))]:
        try:
            with path.open("rb") as file:
                while part := file.read(CHUNK):
                    hashed.update(part)
        except OSError as error:
            raise UserError(f"cannot read {path}: {error.strerror}") from error
    return hashed.hexdigest()


def _load_ours(folder: Path, device: torch.device) -> Logits:
    model = cast(model_folder.load_model(folder), torch.float32).to(device)
    return lambda inputs: model(inputs)


def _load_theirs(folder: Path, device: torch.device) -> Logits:
    """Load a model of `transformers`, only from safetensors and without running code of the
    folder."""
    transformers = optional("transformers")
    try:
        with _without_bars(transformers):
            model, loaded = transformers.AutoModelForCausalLM.from_pretrained(
                folder,
                trust_remote_code=False,
                use_safetensors=True,
                dtype=torch.float32,
                output_loading_info=True,
            )
    except (OSError, ValueError, SafetensorError) as error:
        reason = in_a_line(error).partition(" Model type should be one of")[0]  # a long list
        raise UserError(f"cannot load the model in {folder}: {reason}") from error
    if loaded["missing_keys"]:
        raise UserError(
            f"the model in {folder} has no weights for {', '.join(sorted(loaded['missing_keys']))}:"
            " expected a complete language model, including its head"
        )
    model.config.use_cache = False
    model = model.to(device).eval()
    return lambda inputs: model(input_ids=inputs).logits


def _behind(before: Sequence[int], logits: Logits) -> Logits:
    """Wrap a model so that it reads some tokens before each row."""
    if not before:
        return logits

    def read(inputs: Int64[Tensor, "batch L"]) -> Float[Tensor, "batch L vocab"]:
        front = torch.tensor([before], device=inputs.device).expand(len(inputs), -1)
        return logits(torch.cat([front, inputs], dim=1))[:, len(before) :]

    return read


@contextmanager
def _without_bars(transformers: Any) -> Iterator[None]:
    """Context in which `transformers` shows no progress bars."""
    log = transformers.utils.logging
    shown = log.is_progress_bar_enabled()
    log.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            log.enable_progress_bar()


def refuse_look_ahead(name: str, change: float) -> None:
    """Refuse a model that is not causal.

    Args:
        name: the model.
        change: what `look_ahead` returned.

    Raises:
        UserError: unless the change is 0.
    """
    if change:
        raise UserError(
            f"the model {name} reads ahead: its logits depend on later tokens, which change them by"
            f" {change:.2g} of the largest; expected a causal language model"
        )
