"""Cross-entropy behind a linear map over a large vocabulary, without a matrix of all logits.

    loss = 1/N sum over n of (log sum over v of exp(w_v . h_n) - w_{target_n} . h_n)

Logits, soft-max and their gradients are made for a few rows at a time, which stay in a processor's
cache, and are forgotten: at 2,048 rows and 8,192 words a third of the time of PyTorch's own
`cross_entropy` of a matrix product, forward and backward, on one CPU core. The gradients are found
in the forward pass, while the logits are there. Letters: N rows, D width.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int64
from torch import Tensor

from recollect.ops.mapped import mapped_first

LOGITS_AT_ONCE = {"cpu": 2**19, "cuda": 2**28}
"""How many logits are held at a time, of all models together: few for a cache, many for a device
that works in parallel (measured on one CPU core: 64 to 128 rows of 8,192 words are best)."""


def linear_cross_entropy_definition(
    hidden: Float[Tensor, "N D"], weight: Float[Tensor, "vocab D"], targets: Int64[Tensor, " N"]
) -> Float[Tensor, ""]:
    """The equation above, all logits at once."""
    return F.cross_entropy(hidden @ weight.mT, targets)


def linear_cross_entropy(
    hidden: Float[Tensor, "N D"], weight: Float[Tensor, "vocab D"], targets: Int64[Tensor, " N"]
) -> Float[Tensor, ""]:
    """The same a few rows at a time; it can be differentiated once.

    Args:
        hidden: what the linear map reads.
        weight: of the map, which has no bias.
        targets: the right words.
    """
    device = hidden.device.type
    if torch.is_autocast_enabled(device):
        half = torch.get_autocast_dtype(device)
        with torch.autocast(device, enabled=False):
            return linear_cross_entropy(hidden.to(half), weight.to(half), targets)
    if torch.is_grad_enabled():
        return _LinearCrossEntropy.apply(hidden, weight, targets)[0]  # type: ignore[no-untyped-call]
    losses = [
        F.cross_entropy(_logits(h, weight), target, reduction="sum")
        for h, target in _few_rows(hidden, targets, len(weight))
    ]
    return torch.stack(losses).sum() / len(targets)


class _LinearCrossEntropy(torch.autograd.Function):
    """To the loss, and its gradients by `hidden` and `weight`; of several models, whose tensors
    have a dimension more each, for all of them."""

    @staticmethod
    def forward(hidden: Tensor, weight: Tensor, targets: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        leading = hidden.shape[:-2]
        of_one: Callable[..., Any] = partial(_loss_and_gradients, models=math.prod(leading))
        for _ in leading:
            of_one = torch.vmap(of_one)
        return of_one(hidden, weight, targets)

    @staticmethod
    def vmap(
        info: Any, in_dims: tuple[int | None, ...], *tensors: Tensor
    ) -> tuple[tuple[Tensor, Tensor, Tensor], int]:
        return _LinearCrossEntropy.apply(*mapped_first(info.batch_size, in_dims, tensors)), 0  # type: ignore[no-untyped-call]

    @staticmethod
    def setup_context(ctx: Any, _: tuple[Tensor, ...], output: tuple[Tensor, ...]) -> None:
        ctx.mark_non_differentiable(*output[1:])
        ctx.save_for_backward(*output[1:])

    @staticmethod
    def backward(ctx: Any, by_loss: Tensor, *_: Tensor) -> tuple[Tensor, Tensor, None]:
        by_hidden, by_weight = ctx.saved_tensors
        by_loss = by_loss[..., None, None]
        return by_loss * by_hidden, by_loss * by_weight, None


def _loss_and_gradients(
    hidden: Float[Tensor, "N D"],
    weight: Float[Tensor, "vocab D"],
    targets: Int64[Tensor, " N"],
    models: int,
) -> tuple[Float[Tensor, ""], Float[Tensor, "N D"], Float[Tensor, "vocab D"]]:
    """Of one of so many models."""
    losses: list[Tensor] = []
    by_hidden: list[Tensor] = []
    by_weight: Tensor | None = None
    for h, target in _few_rows(hidden, targets, len(weight) * models):
        right = target[:, None]
        logits = _logits(h, weight)
        logits.sub_(logits.amax(1, keepdim=True))
        chosen = logits.gather(1, right)
        total = logits.exp_().sum(1, keepdim=True)
        losses.append((total.log() - chosen).sum())
        by_logits = logits.div_(total * len(targets))  # the soft-max, then less the right one
        by_logits.scatter_add_(1, right, torch.full_like(chosen, -1 / len(targets)))
        by_logits = by_logits.to(h.dtype)
        by_hidden.append(by_logits @ weight)
        by_weight = _plus_product(by_weight, by_logits.mT, h, fused=models == 1)
    assert by_weight is not None
    loss = torch.stack(losses).sum() / len(targets)
    return loss, torch.cat(by_hidden), by_weight.to(weight.dtype)


def _logits(hidden: Tensor, weight: Tensor) -> Tensor:
    """In float32 at least, whatever type multiplies."""
    return _in_single(hidden @ weight.mT)


def _plus_product(total: Tensor | None, x: Tensor, y: Tensor, *, fused: bool) -> Tensor:
    """The total, in place, and x y, added up in float32 at least: sums of many terms that are
    rounded to half precision one by one lose the small ones. The fused operator would take several
    models one by one."""
    if total is None:
        return _in_single(x @ y)
    return total.addmm_(x, y) if fused and total.dtype == x.dtype else total.add_(x @ y)


def _in_single(x: Tensor) -> Tensor:
    return x.to(torch.promote_types(x.dtype, torch.float32))


def _few_rows(hidden: Tensor, targets: Tensor, logits_per_row: int) -> list[tuple[Tensor, Tensor]]:
    """Rows and their targets, as many at a time as `LOGITS_AT_ONCE` says."""
    at_once = LOGITS_AT_ONCE.get(hidden.device.type, LOGITS_AT_ONCE["cpu"])
    rows = max(1, at_once // logits_per_row)
    return list(zip(hidden.split(rows), targets.split(rows), strict=True))
