"""How a class of another library becomes a mixer: a few lines to start from."""

from __future__ import annotations

import inspect

WIDTHS = (
    *(
        "d_model",
        "dim",
        "embed_dim",
        "hidden_size",
        "width",
        "input_size",
        "input_dim",
        "model_dim",
    ),
    *("n_embd", "hidden_dim", "in_features", "num_inputs", "channels", "d"),
    *("out_features", "output_size", "output_dim"),
)
"""What libraries call the width."""
LENGTHS = ("max_len", "max_seq_len", "max_seqlen", "seq_len", "context_length")
"""What they call the longest length."""


def wrapper(cls: type) -> str:
    """The source of a class that takes `d_model` and builds another, for a message."""
    stars = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    parameters = inspect.signature(cls).parameters.items()
    needed = [name for name, p in parameters if p.default is p.empty and p.kind not in stars]
    own = dict.fromkeys(WIDTHS, "d_model") | dict.fromkeys(LENGTHS, "max_len")
    passed = ", ".join(f"{name}={own.get(name, '...')}" for name in needed)
    context = "d_model, max_len" if set(LENGTHS) & set(needed) else "d_model"
    return (
        " in a class whose constructor names d_model, the width:\n"
        "    class Mixer(nn.Module):\n"
        f"        def __init__(self, {context}):\n"
        f"            super().__init__(); self.inner = {cls.__name__}({passed})\n"
        "        def forward(self, x):  # (batch, length, d_model) to the same\n"
        "            return self.inner(x)"
    )
