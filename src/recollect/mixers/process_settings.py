"""Settings of PyTorch that hold for the whole process, and that no constructor may change."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch

from recollect.errors import UserError

SETTINGS: Mapping[str, tuple[Callable[[], Any], Callable[[Any], Any]]] = {
    "default type (torch.set_default_dtype)": (torch.get_default_dtype, torch.set_default_dtype),
    "recording of gradients (torch.set_grad_enabled)": (
        torch.is_grad_enabled,
        torch.set_grad_enabled,
    ),
}
"""The functions that read and change a setting, by its name."""


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
