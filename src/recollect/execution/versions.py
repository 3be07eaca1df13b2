"""Versions that must be the same on every machine that runs jobs of a study."""

from __future__ import annotations

import hashlib
import platform
from collections.abc import Mapping
from functools import cache
from importlib.metadata import version
from pathlib import Path

import numpy
import torch


@cache
def versions() -> dict[str, str]:
    """Versions of the software that computes trials in this process. PyTorch's build is left out,
    because it differs between machines with and without GPUs."""
    return {
        "recollect": f"{version('recollect')} ({_digest()})",
        "torch": torch.__version__.partition("+")[0],
        "numpy": numpy.__version__,
        "Python": ".".join(platform.python_version_tuple()[:2]),
    }


def skew(node: Mapping[str, str], driver: Mapping[str, str]) -> str | None:
    """Describe how the versions of a node differ from those of the machine that runs the study;
    None if they agree."""
    differences = [
        f"has {name} {node.get(name)}, the machine that runs the study has {driver[name]}"
        for name in driver
        if node.get(name) != driver[name]
    ]
    return "; it ".join(differences) or None


def _digest() -> str:
    """Eight digits of a hash of this package's source, because a version does not identify
    unreleased code."""
    folder = Path(__file__).parents[1]
    digest = hashlib.sha256()
    for path in sorted(folder.rglob("*.py")):
        digest.update(path.relative_to(folder).as_posix().encode() + path.read_bytes())
    return digest.hexdigest()[:8]
