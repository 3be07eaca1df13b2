"""Hints on why a mixer does not run, and how to fix it."""

from __future__ import annotations

import inspect

import torch

from recollect.models.calling import BY_KEYWORD
from recollect.referee.subject import Subject
from recollect.referee.verdict import Misbehaviour

HALF = (torch.bfloat16, torch.float16)
GPU_WORDS = ("cuda", "nvidia", "triton")
WRAP = "wrap it in your own module"


def hint(subject: Subject, error: Misbehaviour) -> str:
    """Return a hint on why a mixer does not run, or an empty string."""
    if subject.device == "cpu" and any(word in str(error).lower() for word in GPU_WORDS):
        return "; it seems to need a GPU: check it with device='cuda'"
    try:
        module = subject.maker.construct(0)
    except Misbehaviour:
        return ""
    needed = _needed(module)
    if needed:
        return (
            f"; forward requires {', '.join(needed)}: set a value, for example"
            f" --adapt forward.{needed[0]}=VALUE, or define a default"
        )
    kept = {str(p.dtype).removeprefix("torch.") for p in module.parameters() if p.dtype in HALF}
    if kept:
        return (
            f"; it has weights in {', '.join(sorted(kept))}, but Recollect keeps weights in"
            " float32: cast both weights and input in forward, or use autocast there"
        )
    for dtype in HALF:
        if subject.attempt(2, dtype) is None:
            name = str(dtype).removeprefix("torch.")
            return (
                f"; it runs in {name}, but inputs are float32: {WRAP} that casts the input to"
                f" {name} and the output back"
            )
    return _of_width(subject)


def _of_width(subject: Subject) -> str:
    """A hint if no argument of the constructor is known to be the width."""
    if subject.takes("d_model"):
        return ""
    names = {name: None for spec in subject.config.mixer for name in spec.options}
    which = f", one of {', '.join(names)}" if names else ""
    return (
        "; no argument of its constructor is known to be the width: name it with"
        f" --adapt d_model=NAME{which}"
    )


def _needed(module: torch.nn.Module) -> list[str]:
    """Required arguments of `forward` that it does not receive."""
    others = list(inspect.signature(module.forward).parameters.values())[1:]
    variadic = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    return [
        p.name
        for p in others
        if p.default is p.empty and p.kind not in variadic and p.name not in BY_KEYWORD
    ]
