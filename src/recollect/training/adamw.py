"""PyTorch's AdamW without the wrappers that serve `torch.compile`.

At their first call these wrappers import the compiler, which takes about a second of every process
that trains. The optimiser itself is not compiled here.
"""

from __future__ import annotations

from inspect import unwrap

import torch


class AdamW(torch.optim.AdamW):
    """Computes what PyTorch's does, to the bit."""

    add_param_group = unwrap(torch.optim.AdamW.add_param_group)
    zero_grad = unwrap(torch.optim.AdamW.zero_grad)
    step = torch.no_grad()(unwrap(torch.optim.AdamW.step))
