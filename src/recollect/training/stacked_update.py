"""Updates of our optimisers for many models at once, on matrices with one row per model.

Up to rounding, each function does the same as the optimiser of its name.

Dimensions: P models, N parameters of one of them, m and n the sides of a matrix.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from recollect.training.lion import MOMENTUM, Lion, lion_step
from recollect.training.optimizer import Joined


@dataclass
class Rows:
    """Parameters of P models that one optimiser updates, with its state.

    Attributes:
        theta: the flattened parameters of each model, concatenated.
        kept: the optimiser's state of each parameter, by entry name.
        decay: the weight decay of each element.
        sums: numbers that the optimiser keeps per model, by name.
        shapes: shapes of the parameters.
        group: the optimiser's settings, the same for all models.
    """

    theta: Float[Tensor, "P N"]
    kept: dict[str, Float[Tensor, "P N"]]
    decay: Float[Tensor, "P N"]
    sums: dict[str, Float[Tensor, "P 1"]]
    shapes: Sequence[torch.Size]
    group: dict[str, Any]


Step = Callable[[Rows, Float[Tensor, "P N"], Float[Tensor, "P 1"], Float[Tensor, " 2"]], None]
"""An update; takes the gradients, the learning rate of each model, and `corrections`."""


@dataclass(frozen=True)
class Update:
    """How an optimiser updates rows.

    Attributes:
        step: the update.
        kept: names of the entries in the optimiser's state of each parameter.
        begins: entries initialised with the parameters; the others are initialised with zeros.
        sums: names of the numbers kept in its groups.
        clock: name of the step count in the state of each parameter; "": there is none.
        group_clock: name of the step count in its groups; "": there is none.
        evaluated: computes the evaluation weights.
    """

    step: Step
    kept: tuple[str, ...]
    begins: tuple[str, ...] = ()
    sums: tuple[str, ...] = ()
    clock: str = ""
    group_clock: str = ""
    evaluated: Callable[[Rows], Float[Tensor, "P N"]] = lambda rows: rows.theta


def update_of(optimizer: torch.optim.Optimizer) -> Update:
    """Update for one of our optimisers, except `Joined`."""
    return _UPDATES[type(optimizer).__name__]


def members(optimizer: torch.optim.Optimizer) -> tuple[torch.optim.Optimizer, ...]:
    """Optimisers that an optimiser consists of."""
    return optimizer.members if isinstance(optimizer, Joined) else (optimizer,)


def corrections(group: dict[str, Any], step: int) -> tuple[float, float]:
    """Adam's bias corrections at step `step`, counted from 1: the factor 1 / (1 - beta1^step) of
    the mean gradient, and the divisor 1 - beta2^step of the mean square."""
    beta1, beta2 = group.get("betas", (0.0, 0.0))
    return 1 / (1 - beta1**step), 1 - beta2**step


def _adamw(rows: Rows, gradient: Tensor, rates: Tensor, corrections: Tensor) -> None:
    """AdamW (Loshchilov and Hutter, 2019, arXiv 1711.05101), as PyTorch computes it."""
    beta1, beta2 = rows.group["betas"]
    first, second = rows.kept["exp_avg"], rows.kept["exp_avg_sq"]
    rows.theta.mul_(1 - rates * rows.decay)
    first.lerp_(gradient, 1 - beta1)
    second.mul_(beta2).addcmul_(gradient, gradient, value=1 - beta2)
    scale = (second / corrections[1]).sqrt_().add_(rows.group["eps"])
    rows.theta.addcdiv_((first * rates).mul_(corrections[0]), scale, value=-1)


def _sgd(rows: Rows, gradient: Tensor, rates: Tensor, _: Tensor) -> None:
    momentum = rows.kept["momentum_buffer"]
    momentum.mul_(rows.group["momentum"]).add_(gradient).addcmul_(rows.theta, rows.decay)
    rows.theta.sub_(rates * momentum)


def _lion(rows: Rows, gradient: Tensor, rates: Tensor, _: Tensor) -> None:
    lion_step(rows.theta, gradient, rows.kept[MOMENTUM], rates, rows.decay)


def _muon(rows: Rows, gradient: Tensor, rates: Tensor, _: Tensor) -> None:
    """Muon (Jordan et al., 2024), with the scale of Liu et al. (2025, arXiv 2502.16982)."""
    momentum = rows.kept["momentum_buffer"]
    momentum.lerp_(gradient, 1 - rows.group["momentum"])
    direction = gradient.lerp(momentum, rows.group["momentum"])
    rows.theta.mul_(1 - rates * rows.decay)
    sizes = [math.prod(shape) for shape in rows.shapes]
    parts = zip(rows.shapes, rows.theta.split(sizes, 1), direction.split(sizes, 1), strict=True)
    for shape, theta, part in parts:
        orthogonal = orthogonalised(part.unflatten(1, shape), rows.group)
        scale = 0.2 * math.sqrt(max(shape))
        theta.sub_(rates * scale * orthogonal.flatten(1).to(theta))


def orthogonalised(
    matrices: Float[Tensor, "P m n"], group: dict[str, Any]
) -> Float[Tensor, "P m n"]:
    """Orthogonalise matrices (singular values near 1) by the Newton-Schulz iteration of PyTorch's
    Muon, in bfloat16 like there."""
    a, b, c = group["ns_coefficients"]
    is_tall = matrices.shape[1] > matrices.shape[2]
    x = matrices.bfloat16()
    x = x.mT if is_tall else x
    x = x / x.norm(dim=(1, 2), keepdim=True).clamp(min=group["eps"])
    for _ in range(group["ns_steps"]):
        gram = x @ x.mT
        x = torch.baddbmm(x, torch.baddbmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    return x.mT if is_tall else x


def _schedule_free(rows: Rows, gradient: Tensor, rates: Tensor, corrections: Tensor) -> None:
    """Schedule-free AdamW (Defazio et al., 2024, arXiv 2405.15682).

    The parameters y interpolate between the iterates z and their average, in which each iterate is
    weighted by the square of the highest learning rate so far.
    """
    beta1, beta2 = rows.group["betas"]
    y, z, second = rows.theta, rows.kept["z"], rows.kept["exp_avg_sq"]
    second.mul_(beta2).addcmul_(gradient, gradient, value=1 - beta2)
    scale = (second / corrections[1]).sqrt_().add_(rows.group["eps"])
    step = gradient / scale + rows.decay * y
    highest, total = rows.sums["lr_max"], rows.sums["weight_sum"]
    torch.maximum(highest, rates, out=highest)
    total.add_(highest**2)
    share = torch.where(total > 0, highest**2 / total, 0.0)
    y.lerp_(z, share.to(y))
    y.add_(step * (rates * (beta1 * (1 - share) - 1)).to(y))
    z.sub_(rates * step)


def _average(rows: Rows) -> Tensor:
    return rows.theta.lerp(rows.kept["z"], 1 - 1 / rows.group["betas"][0])


_UPDATES = {
    "AdamW": Update(_adamw, ("exp_avg", "exp_avg_sq"), clock="step"),
    "SGD": Update(_sgd, ("momentum_buffer",)),
    Lion.__name__: Update(_lion, (MOMENTUM,)),
    "Muon": Update(_muon, ("momentum_buffer",)),
    "AdamWScheduleFree": Update(
        _schedule_free,
        ("z", "exp_avg_sq"),
        begins=("z",),
        sums=("lr_max", "weight_sum"),
        group_clock="k",
        evaluated=_average,
    ),
}
"""Updates by class name, because the package of one class may not be installed."""
