"""The packages of trackers; each is an extra of its own."""

from __future__ import annotations

from importlib.metadata import version
from typing import Any

from recollect.errors import UserError, summary
from recollect.language.extras import optional


def package(name: str) -> Any:
    """Import a module of a tracker's package.

    Raises:
        UserError: if the package is not installed or cannot be imported.
    """
    root = name.partition(".")[0]
    try:
        return optional(name, root)
    except UserError:
        raise
    except Exception as error:
        raise UserError(
            f"{root} {version(root)} cannot be imported here ({summary(error)}): pip install"
            f" --upgrade {root}"
        ) from error
