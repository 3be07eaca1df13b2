"""Registry of the studies that come with the package."""

from __future__ import annotations

from collections.abc import Callable

from recollect.registry import Registry
from recollect.studies.study import Study

StudyFunction = Callable[[str], Study]
"""Returns a study at a scale: "laptop", or "paper" for the size in the paper."""

STUDIES: Registry[StudyFunction] = Registry("study", "recollect.papers")


def register_study(name: str) -> Callable[[StudyFunction], StudyFunction]:
    """Register the study that a function returns under `name`."""

    def register(function: StudyFunction) -> StudyFunction:
        STUDIES.add(name, function)
        return function

    return register
