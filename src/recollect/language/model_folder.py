"""Our language models as folders: configuration, weights and tokenizer."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from importlib.machinery import PathFinder
from pathlib import Path
from typing import Any, NamedTuple

import torch

from recollect.errors import UserError
from recollect.files import make_folder, replacing
from recollect.identity import is_file_name
from recollect.language.tokenizer import TOKENIZER_FILE, Tokenizer
from recollect.models.config import ModelConfig
from recollect.models.language_model import LanguageModel
from recollect.tensors import cast
from recollect.text_output import write_text
from recollect.training.checkpoint import read_names, read_weights, save_weights

FORMAT = 1
CONFIG_FILE, WEIGHTS_FILE = "recollect.json", "model.safetensors"


class Shape(NamedTuple):
    """The configuration of a model.

    Attributes:
        config: the architecture.
        vocab_size: number of token ids.
        max_len: most tokens that it reads.
        dtype: type of its weights.
        begins_with: tokens before a text, as in training.
    """

    config: ModelConfig
    vocab_size: int
    max_len: int
    dtype: str
    begins_with: tuple[int, ...]


def save_model(
    model: LanguageModel, tokenizer: Tokenizer, folder: Path, *, begins_with: Sequence[int] = ()
) -> None:
    """Write a model's files, the configuration last.

    Args:
        model: the model.
        tokenizer: its tokenizer.
        folder: the folder.
        begins_with: tokens before a text, as in training.

    Raises:
        UserError: if the folder cannot be written.
    """
    weight = model.head.weight
    assert tokenizer.vocab_size <= weight.shape[0]
    shape = {
        "format": FORMAT,
        "model": model.config.model_dump(mode="json"),
        "vocab_size": weight.shape[0],
        "max_len": model.max_len,
        "dtype": str(weight.dtype).removeprefix("torch."),
        "begins_with": list(begins_with),
    }
    make_folder(folder)
    save_weights(model, folder / WEIGHTS_FILE)
    with replacing(folder / TOKENIZER_FILE) as temporary:
        tokenizer.save(temporary)
    write_text(folder / CONFIG_FILE, json.dumps(shape, indent=1))


def is_model_folder(folder: Path) -> bool:
    """Whether `save_model` has written the folder."""
    return (folder / CONFIG_FILE).is_file()


def read_shape(folder: Path) -> Shape:
    """Read the configuration in a folder.

    Raises:
        UserError: if it is damaged or of another version, or the code of a mixer is missing or lies
            in the folder.
    """
    path = folder / CONFIG_FILE
    try:
        stored: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        if stored["format"] == FORMAT:
            _refuse_code(folder, _names(stored["model"]["mixer"]))
            config = ModelConfig(**stored["model"])
            begins_with = tuple(stored.get("begins_with", ()))
            return Shape(
                config, stored["vocab_size"], stored["max_len"], stored["dtype"], begins_with
            )
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror}") from error
    except UserError as error:
        raise UserError(f"{path}: {error}") from error
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(f"{path} is damaged: it is not the configuration of a model") from error
    raise UserError(
        f"{path} was written by another version: format {stored['format']}, not {FORMAT}"
    )


def _refuse_code(folder: Path, mixers: Iterable[str]) -> None:
    """Refuse mixers whose code lies with the model, so that downloaded models run no code."""
    model = folder.resolve()
    for mixer in mixers:
        if is_file_name(mixer.rpartition(":")[0]):  # `save_model` never writes file names
            raise UserError(f"the mixer {mixer!r} is a file, and files are not run for a model")
        for place in _code_of(mixer) if ":" in mixer else ():
            if place.is_relative_to(model) or model.is_relative_to(place):
                raise UserError(
                    f"the code of the mixer {mixer!r} lies with the model, in {place}. Such code is"
                    " not run: if you trust it, move it to another folder"
                )


def _names(mixer: Any) -> Iterator[str]:
    """Names in a mixer or layer pattern, in any form that `ModelConfig` takes."""
    if isinstance(mixer, str):
        yield mixer
    elif isinstance(mixer, dict):
        yield from _names(mixer.get("mixer"))
    elif isinstance(mixer, list):
        for each in mixer:
            yield from _names(each)


def _code_of(mixer: str) -> list[Path]:
    """Paths of the outermost module or package of `package.module:Class`, found without running
    it."""
    spec = PathFinder.find_spec(mixer.partition(":")[0].partition(".")[0])
    if spec is None:
        return []
    places = spec.submodule_search_locations or filter(None, [spec.origin])
    return [Path(place).resolve() for place in places]


def check_weights(folder: Path) -> None:
    """Check that a folder has the configuration and complete weights of a model.

    Raises:
        UserError: if it has not.
    """
    try:
        if not is_model_folder(folder):
            raise UserError(f"there is no {folder / CONFIG_FILE}")
        read_names(folder / WEIGHTS_FILE)
    except UserError as error:
        raise UserError(
            f"{error}: put the file back, or remove the folder {folder} and train again"
        ) from error


def load_model(folder: Path) -> LanguageModel:
    """Load the model in a folder, on the CPU and in evaluation mode.

    Raises:
        UserError: if a file is missing or damaged, or the files do not fit together.
    """
    shape = read_shape(folder)
    model = LanguageModel(shape.config, vocab_size=shape.vocab_size, max_len=shape.max_len, seed=0)
    cast(model, getattr(torch, shape.dtype))
    check_weights(folder)
    read_weights(model, folder / WEIGHTS_FILE)
    return model.eval()
