"""The packages of trackers, each of which is an extra of its own."""

from __future__ import annotations

from importlib.metadata import version
from typing import Any

from recollect.errors import UserError, summary
from recollect.language.extras import optional


def package(name: str) -> Any:
    """A module of a tracker's package, imported.

    Raises:
        UserError: if the package is not installed, or is one that cannot be imported.
    """
    root = name.partition(".")[0]
    try:
        return optional(name, root)
    except UserError:
        raise
    except Exception as error:
        raise UserError(
            f"{root} {version(root)} cannot be imported here ({summary(error)}): pip install"
            f" --upgrade 'recollect[{root}]'"
        ) from error
