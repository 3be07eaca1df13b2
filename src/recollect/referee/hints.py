"""Why a mixer may not run, and what to do about it: what its author may not think of."""

from __future__ import annotations

import inspect

import torch

from recollect.models.calling import BY_KEYWORD
from recollect.referee.subject import Subject
from recollect.referee.verdict import Misbehaviour

HALF = (torch.bfloat16, torch.float16)
GPU_WORDS = ("cuda", "nvidia", "triton")
WRAP = "wrap it in a module of your own"


def hint(subject: Subject, error: Misbehaviour) -> str:
    """A remark on why a mixer does not run, or nothing."""
    if subject.device == "cpu" and any(word in str(error).lower() for word in GPU_WORDS):
        return "; it seems to need a GPU: check it with device='cuda'"
    try:
        module = subject.maker.construct(0)
    except Misbehaviour:
        return ""
    needed = _needed(module)
    if needed:
        return (
            f"; forward needs {', '.join(needed)}: say what it gets, such as"
            f" --adapt forward.{needed[0]}=VALUE, or give it a default"
        )
    kept = {str(p.dtype).removeprefix("torch.") for p in module.parameters() if p.dtype in HALF}
    if kept:
        return (
            f"; it is built with weights of {', '.join(sorted(kept))}, and Recollect keeps weights"
            " in float32: cast both weights and input in forward, or use autocast there"
        )
    for dtype in HALF:
        if _runs_in(subject, dtype):
            name = str(dtype).removeprefix("torch.")
            return (
                f"; it runs in {name}, and the inputs are float32: {WRAP} that casts the input,"
                " and the output back"
            )
    return _of_width(subject)


def _of_width(subject: Subject) -> str:
    """A width under another name."""
    if subject.takes("d_model"):
        return ""
    names = {name: None for spec in subject.config.mixer for name in spec.options}
    named = f": say which of {', '.join(names)} it is, such as" if names else ", such as"
    return f"; no argument of its constructor is the width{named} --adapt d_model=NAME"


def _needed(module: torch.nn.Module) -> list[str]:
    """Arguments of `forward` without a default that it is not given."""
    others = list(inspect.signature(module.forward).parameters.values())[1:]
    variadic = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    return [
        p.name
        for p in others
        if p.default is p.empty and p.kind not in variadic and p.name not in BY_KEYWORD
    ]


def _runs_in(subject: Subject, dtype: torch.dtype) -> bool:
    module = subject.build(dtype=dtype, perturbed=False)
    try:
        subject.run(module, *subject.sequences(2, dtype=dtype))
    except Misbehaviour:
        return False
    return True
