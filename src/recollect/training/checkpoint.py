"""Weights and checkpoints on disk, as safetensors: reading them runs no code."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from recollect.errors import UserError
from recollect.files import replacing
from recollect.models.language_model import LanguageModel
from recollect.tensors import cast, fill
from recollect.training.config import TrialConfig
from recollect.training.optimizer_state import optimizer_state, restore_optimizer
from recollect.training.result import Metrics, Record

OPTIMIZER = "optimizer."
SEEN = "seen."
"""Name prefixes of tensors of the optimiser and of the observer; all others are the model's."""
OPTIMIZER_NUMBERS = "optimizer"
"""Metadata key of a checkpoint: the numbers in the optimiser's state."""
COMPLEX = "complex"
"""Metadata key of a file: the names of its complex tensors."""


class DamagedFileError(UserError):
    """A file that can be read, but is not a whole safetensors file."""


def save_weights(model: nn.Module, path: Path) -> None:
    """Write a model's parameters and buffers; a tied weight is written once.

    Raises:
        UserError: if the file cannot be written.
    """
    write_tensors(path, _weights(model), {})


def load_weights(config: TrialConfig, path: Path) -> LanguageModel:
    """Build a trial's model with the weights in `path`.

    Raises:
        UserError: if the file is missing, damaged or of another model.
    """
    model = build_model(config)
    read_weights(model, path)
    return model


def read_weights(model: nn.Module, path: Path) -> None:
    """Load the weights in `path` into a model.

    Raises:
        UserError: if the file is missing, damaged or of another model.
    """
    tensors, _ = read_tensors(path)
    _assign(model, tensors, path)


def copied_weights(model: nn.Module) -> dict[str, Tensor]:
    """Copy of a model's parameters and buffers, for `restore_weights`."""
    return {name: tensor.clone() for name, tensor in _weights(model).items()}


def restore_weights(model: nn.Module, weights: dict[str, Tensor]) -> bool:
    """Fill a model's parameters and buffers.

    Returns:
        Whether every tensor has its value. False if names or shapes differ, or if tensors that
        share memory would need different values.
    """
    own = _tensors(model)
    if _kinds(own) != _kinds(weights):
        return False
    for name, tensor in own.items():
        fill(tensor, weights[name])
    return all(_equal(tensor, weights[name]) for name, tensor in own.items())


def build_model(config: TrialConfig) -> LanguageModel:
    """A trial's model before training, on the CPU."""
    model = config.model.build(config.task, max_len=config.max_len, seed=config.seeds.init)
    return cast(model, torch.float64 if config.train.dtype == "float64" else torch.float32)


def save_checkpoint(
    path: Path,
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    history: list[Record],
    seen: dict[str, Tensor],
    **counts: float,
) -> None:
    """Write all that a trial needs to continue exactly as if it had not been interrupted."""
    tensors = _weights(model) | {f"{SEEN}{name}": value for name, value in seen.items()}
    kept, numbers = optimizer_state(model, optimizer)
    tensors |= {f"{OPTIMIZER}{entry}.{name}": value for (name, entry), value in kept.items()}
    plain = {
        "history": [asdict(record) for record in history],
        "counts": counts,
        OPTIMIZER_NUMBERS: numbers,
    }
    write_tensors(path, tensors, {name: json.dumps(value) for name, value in plain.items()})


def load_checkpoint(
    path: Path, model: nn.Module, optimizer: torch.optim.Optimizer
) -> tuple[list[Record], dict[str, Tensor], dict[str, float]]:
    """Load a checkpoint into model and optimiser; returns the history, the observer's tensors and
    the counts."""
    tensors, metadata = read_tensors(path)
    seen = {
        name.removeprefix(SEEN): tensors.pop(name)
        for name in list(tensors)
        if name.startswith(SEEN)
    }
    parameters, kept = dict(model.named_parameters()), {}
    for key in [key for key in tensors if key.startswith(OPTIMIZER)]:
        entry, _, name = key.removeprefix(OPTIMIZER).partition(".")
        if name not in parameters:
            raise UserError(f"{path} is a checkpoint of another model")
        kept[name, entry] = tensors.pop(key)
    numbers = json.loads(metadata.get(OPTIMIZER_NUMBERS, "{}"))
    restore_optimizer(model, optimizer, kept, numbers)
    _assign(model, tensors, path)
    records = json.loads(metadata["history"])
    history = [Record(**{**record, "valid": Metrics.of(record["valid"])}) for record in records]
    return history, seen, json.loads(metadata["counts"])


def was_observed(checkpoint: Path) -> bool:
    """Whether an observer has observed the trial from its beginning."""
    return any(name.startswith(SEEN) for name in read_tensors(checkpoint)[0])


def _weights(model: nn.Module) -> dict[str, Tensor]:
    """Parameters and buffers by name. No two share memory, which safetensors does not allow."""
    weights, taken = {}, set()
    for name, tensor in _tensors(model).items():
        own = tensor.detach().contiguous()
        if own.untyped_storage().data_ptr() in taken:
            own = own.clone()
        taken.add(own.untyped_storage().data_ptr())
        weights[name] = own
    return weights


def _assign(model: nn.Module, tensors: dict[str, Tensor], path: Path) -> None:
    if not restore_weights(model, tensors):
        raise UserError(f"{path} holds the weights of another model")


def _tensors(model: nn.Module) -> dict[str, Tensor]:
    return dict(model.named_parameters()) | dict(model.named_buffers())


def _kinds(tensors: dict[str, Tensor]) -> dict[str, tuple[torch.Size, bool]]:
    return {name: (tensor.shape, tensor.is_complex()) for name, tensor in tensors.items()}


def _equal(tensor: Tensor, value: Tensor) -> bool:
    there = value.to(tensor)
    return bool(((tensor == there) | (tensor != tensor)).all())  # NaN is unlike itself


def write_tensors(path: Path, tensors: dict[str, Tensor], metadata: dict[str, str]) -> None:
    """Write a safetensors file atomically.

    The format has no double-precision complex numbers, so complex tensors are written as pairs of
    real numbers and their names are stored in the metadata.

    Raises:
        UserError: if it cannot be written.
    """
    pairs = [name for name, tensor in tensors.items() if tensor.is_complex()]
    real = {
        n: torch.view_as_real(t.resolve_conj()) if t.is_complex() else t for n, t in tensors.items()
    }
    noted = metadata | ({COMPLEX: json.dumps(pairs)} if pairs else {})
    with replacing(path) as temporary:
        try:
            save_file(real, temporary, noted)
        except SafetensorError as error:  # what a full disk raises
            raise OSError(str(error)) from error


def read_tensors(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Tensors of a file by name, and its metadata.

    Raises:
        UserError: if the file is missing or damaged.
    """
    with _opened(path) as file:
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        metadata = file.metadata() or {}
    for name in json.loads(metadata.pop(COMPLEX, "[]")):
        tensors[name] = torch.view_as_complex(tensors[name])
    return tensors, metadata


def read_names(path: Path) -> list[str]:
    """Names of the tensors in a file. Checks the file's length but reads no tensor.

    Raises:
        UserError: if the file is missing or damaged.
    """
    with _opened(path) as file:
        return list(file.keys())


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    try:
        with safe_open(path, framework="pt") as file:
            yield file
    except FileNotFoundError:
        raise UserError(f"there is no {path}") from None
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror or error}") from None
    except SafetensorError as error:
        raise DamagedFileError(f"{path} is damaged or no safetensors file: {error}") from None
