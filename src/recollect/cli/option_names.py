"""Messages that name what was typed: `--context 5000` where Python says `seq_len=5000`."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from recollect.errors import UserError

CLASS = re.compile(r"^\w+: (?=--)")
"""The name of a config in front of an option."""


@contextmanager
def as_typed(options: Mapping[str, str]) -> Iterator[None]:
    """In what the block raises as wrong input, settings have the names of options.

    Args:
        options: by the name of the setting; the value of a setting named `name=value` is replaced
            with it, and of other words all are.
    """
    try:
        yield
    except UserError as error:
        raise UserError(named(str(error), options)) from error


def named(message: str, options: Mapping[str, str]) -> str:
    """A message with options in place of settings."""
    for setting, option in options.items():
        is_whole = "=" in setting or " " in setting
        end, replaced = (r"(?!\w)", option) if is_whole else ("=", f"{option} ")
        message = re.sub(rf"(?<![\w.-]){re.escape(setting)}{end}", replaced, message)
    return CLASS.sub("", message)
