"""The L1 and L2 penalties of a recipe, as separate steps after the optimiser's.

Decoupled from the gradient, they are not amplified by momentum (by 1 / (1 - m) as part of the loss), and the proximal
L1 step gives exact zeros, which a subgradient never does. See docs/method.md.
"""

from collections.abc import Iterable

import torch
import torch.nn.functional as F  # noqa: N812, the name everybody knows it by
from torch import Tensor, nn

from study.recipe import Recipe


def kernels(network: nn.Module) -> list[Tensor]:
    """The weights of convolutions and fully-connected layers, which the penalties apply to; no biases."""
    return [m.weight for m in network.modules() if isinstance(m, nn.Conv2d | nn.Linear)]


@torch.no_grad()
def penalty_step(weights: Iterable[Tensor], recipe: Recipe, learning_rate: float) -> None:
    """Shrink `weights` in place by one step of the recipe's penalties (formulas: `study.recipe.Recipe`)."""
    for weight in weights:
        if recipe.l2:
            weight.mul_(1 - 2 * learning_rate * recipe.l2)
        if recipe.l1 and recipe.l1_update == "proximal":
            weight.copy_(F.softshrink(weight, learning_rate * recipe.l1))
        elif recipe.l1:
            weight.sub_(weight.sign(), alpha=learning_rate * recipe.l1)


@torch.no_grad()
def penalty(weights: Iterable[Tensor], recipe: Recipe) -> float:
    """l1 * sum |w| + l2 * sum w^2 over `weights`, accumulated in float64."""
    total = 0.0
    for weight in weights:
        w = weight.double()
        total += recipe.l1 * w.abs().sum().item() + recipe.l2 * w.square().sum().item()
    return total
