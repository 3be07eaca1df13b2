"""What a function gives and how it changes: ours beside somebody else's."""

from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn

Layout = Callable[[Tensor], Tensor]
"""Makes one of their parameters, up to its shape, out of one of ours; of gradients likewise."""
Names = tuple[tuple[str, str, Layout], ...]
"""Rows of a table: our parameter, theirs, how ours becomes theirs."""


def same(weight: Tensor) -> Tensor:
    return weight


def taps(weight: Tensor) -> Tensor:
    """Ours (width, channels) begin at the present; theirs (channels, 1, width) end there."""
    return weight.flip(0).T[:, None]


def perturbed(module: nn.Module) -> nn.Module:
    """In float64, away from the zeros, ones and regular steps of its start."""
    with torch.no_grad():
        for parameter in module.parameters():
            parameter += 0.3 * torch.randn_like(parameter)
    return module.double()


def as_theirs(ours: Mapping[str, Tensor], theirs: nn.Module, names: Names) -> dict[str, Tensor]:
    """Our parameters, or their gradients, as theirs; the table has to name all of both.

    Rows of the same parameter of theirs add up.
    """
    shapes = {name: parameter.shape for name, parameter in theirs.named_parameters()}
    assert {name for name, _, _ in names} == set(ours)
    assert {name for _, name, _ in names} == set(shapes)
    made: dict[str, Tensor] = {}
    for our, name, layout in names:
        part = layout(ours[our]).reshape(shapes[name])
        made[name] = made[name] + part if name in made else part
    return made


def outcome(
    function: Callable[[], Tensor | tuple[Tensor, ...]], inputs: Mapping[str, Tensor]
) -> tuple[tuple[Tensor, ...], dict[str, Tensor]]:
    """Its outputs, and the gradients of a random sum of them with respect to the inputs."""
    outputs = function()
    outputs = outputs if isinstance(outputs, tuple) else (outputs,)
    generator = torch.Generator().manual_seed(0)
    total = sum(
        (y * torch.randn(y.shape, dtype=torch.float64, generator=generator)).sum() for y in outputs
    )
    gradients = torch.autograd.grad(total, list(inputs.values()), materialize_grads=True)
    return tuple(y.detach() for y in outputs), dict(zip(inputs, gradients, strict=True))


def assert_agree(
    ours: Mapping[str, Tensor], theirs: Mapping[str, Tensor], tolerance: float
) -> None:
    """Each differs by at most a share of the norm of theirs (of 0.01 where that is more)."""
    assert set(ours) == set(theirs)
    for name, expected in theirs.items():
        assert ours[name].shape == expected.shape, name
        share = (ours[name] - expected).norm() / expected.norm().clamp(min=0.01)
        assert share <= tolerance, f"{name}: {share:.1e} from theirs"
