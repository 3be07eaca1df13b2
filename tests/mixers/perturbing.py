"""Perturb weights away from the zeros, ones and regular steps of an initialisation."""

import torch


def perturbed(module, by=0.3):
    """The module in float64, with noise on every parameter."""
    torch.manual_seed(0)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter += by * torch.randn_like(parameter)
    return module.double()
