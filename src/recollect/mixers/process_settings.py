"""Settings of PyTorch that hold for the whole process, and that change what is trained there."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch

from recollect.errors import FatalError, UserError

SETTINGS: Mapping[str, tuple[Callable[[], Any], Callable[[Any], Any]]] = {
    "default type (torch.set_default_dtype)": (torch.get_default_dtype, torch.set_default_dtype),
    "recording of gradients (torch.set_grad_enabled)": (
        torch.is_grad_enabled,
        torch.set_grad_enabled,
    ),
}
"""The functions that read and change a setting, by its name."""


def refuse_default_dtype() -> None:
    """Refuse training in a process whose default type was changed.

    Raises:
        FatalError: unless the default type is float32.
    """
    dtype = torch.get_default_dtype()
    if dtype != torch.float32:
        raise FatalError(
            f"PyTorch's default type is {dtype}, which changes initial weights, but not the key of"
            " a trial: call torch.set_default_dtype(torch.float32); for training in float64, use"
            " TrainConfig(dtype='float64')"
        )


@contextmanager
def unchanged_settings(mixer: str) -> Iterator[None]:
    """Context in which a mixer is built; settings that it leaves changed are restored.

    They would hold for everything that is built and trained later in this process, in the trials of
    other mixers too.

    Raises:
        UserError: if a setting is left changed.
    """
    before = {name: read() for name, (read, _) in SETTINGS.items()}
    try:
        yield
    finally:
        changed = [name for name, (read, _) in SETTINGS.items() if read() != before[name]]
        for name in changed:
            SETTINGS[name][1](before[name])
    if changed:
        raise UserError(
            f"the constructor of {mixer!r} changes PyTorch's {changed[0]} for the whole process,"
            " other mixers included: restore it there"
        )
