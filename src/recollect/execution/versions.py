"""What must be alike on every machine that runs jobs of a study."""

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
    """Of this process: what trials are computed by. A build of PyTorch is not told, as machines
    with GPUs have other builds than machines without."""
    return {
        "recollect": f"{version('recollect')} ({_digest()})",
        "torch": torch.__version__.partition("+")[0],
        "numpy": numpy.__version__,
        "Python": ".".join(platform.python_version_tuple()[:2]),
    }


def skew(node: Mapping[str, str], driver: Mapping[str, str]) -> str | None:
    """How the versions of a node differ from those of the machine that runs the study, in words;
    None if they do not."""
    told = [
        f"has {name} {node.get(name)}, and the machine that runs the study {driver[name]}"
        for name in driver
        if node.get(name) != driver[name]
    ]
    return "; it ".join(told) or None


def _digest() -> str:
    """Eight digits of this package's source: between releases a version alone does not tell it."""
    folder = Path(__file__).parents[1]
    digest = hashlib.sha256()
    for path in sorted(folder.rglob("*.py")):
        digest.update(path.relative_to(folder).as_posix().encode() + path.read_bytes())
    return digest.hexdigest()[:8]
