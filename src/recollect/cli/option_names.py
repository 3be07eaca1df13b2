"""Error messages with command-line options: `--context 5000` in place of `seq_len=5000`."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from recollect.errors import UserError

CLASS = re.compile(r"^\w+: (?=--)")
"""The name of a config class in front of an option."""


@contextmanager
def as_typed(options: Mapping[str, str]) -> Iterator[None]:
    """Replace names of settings by command-line options in the errors that the block raises.

    Args:
        options: option by setting. A setting such as `seq_len` matches `seq_len=`; a setting that
            contains "=" or a space matches as a whole.
    """
    try:
        yield
    except UserError as error:
        raise UserError(named(str(error), options)) from error


def named(message: str, options: Mapping[str, str]) -> str:
    """Replace settings by options in a message."""
    for setting, option in options.items():
        is_whole = "=" in setting or " " in setting
        end, replaced = (r"(?!\w)", option) if is_whole else ("=", f"{option} ")
        message = re.sub(rf"(?<![\w.-]){re.escape(setting)}{end}", replaced, message)
    return CLASS.sub("", message)
