"""The studies that come with the package, by name."""

from __future__ import annotations

from collections.abc import Callable

from recollect.registry import Registry
from recollect.studies.study import Study

StudyFunction = Callable[[str], Study]
"""Returns the whole study at a scale: "laptop", or "paper" for the size in the paper."""

STUDIES: Registry[StudyFunction] = Registry("study", "recollect.papers")


def register_study(name: str) -> Callable[[StudyFunction], StudyFunction]:
    """Ship the study that a function returns, under `name`.

    Args:
        name: the name that users type.

    Returns:
        A decorator of the function, which it returns as it is.

    Raises:
        ValueError: if the name is taken.
    """

    def register(function: StudyFunction) -> StudyFunction:
        STUDIES.add(name, function)
        return function

    return register
