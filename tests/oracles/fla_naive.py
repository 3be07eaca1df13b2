"""The naive references of flash-linear-attention, in the package `fla-core`, and their arguments.

Theirs divide queries by the root of their width (`scale`); ours leave that to the mixers. Some have
positions before heads.
"""

import importlib.util
import runpy
from pathlib import Path
from types import SimpleNamespace

import torch
import torch.nn.functional as F

BATCH, HEADS, D_K, D_V, SLOTS = 2, 3, 6, 4, 5
SCALE = D_K**-0.5
LENGTHS = [1, 2, 17, 150]
"""One position, two, one more than the delta rule's chunk, more than two of the longest chunks."""
TOLERANCE = 3e-6
"""All get float64, but most of theirs compute in float32 all the same."""


def naive(op):
    """The functions of one file: it needs PyTorch alone, importing the package needs Triton."""
    (package,) = importlib.util.find_spec("fla").submodule_search_locations
    return SimpleNamespace(**runpy.run_path(str(Path(package, "ops", op, "naive.py"))))


def turned(*tensors):
    """From (batch, heads, L, ...) to (batch, L, heads, ...), or back."""
    return [x.transpose(1, 2) for x in tensors]


def arguments(length):
    """Keys of length 1 and decays from weak to strong, by name."""

    def normal(*shape):
        return torch.randn(BATCH, HEADS, length, *shape, dtype=torch.float64)

    values = {
        "q": normal(D_K),
        "k": F.normalize(normal(D_K), dim=-1),
        "v": normal(D_V),
        "beta": normal().sigmoid(),
        "log_decay": -(2 * normal() - 1).exp(),
        "levels": normal(9),
        "log_forget": F.logsigmoid(normal()),
        "removal_key": F.normalize(normal(D_K), dim=-1),
        "rate": normal(D_K).sigmoid(),
        "erasing": normal(D_K).sigmoid(),
        "writing": normal(D_V).sigmoid(),
        "slot_decay": -(2 * normal(SLOTS) - 1).exp(),
        "channel_decay": -(2 * normal(D_K) - 1).exp(),
    }
    return {name: value.requires_grad_() for name, value in values.items()}
