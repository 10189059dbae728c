"""The penalty steps and the penalty itself, by hand."""

import pytest
import torch
from torch import Tensor, nn

from study.recipe import Recipe
from train.penalties import kernels, penalty, penalty_step


def weight() -> Tensor:
    return torch.tensor([[0.5, -0.5], [0.01, -0.01]])


def test_l1_moves_towards_zero_by_its_step_and_stops_there() -> None:
    w = weight()
    penalty_step([w], Recipe(l1=0.2), learning_rate=0.1)  # a step of 0.02
    assert torch.allclose(w, torch.tensor([[0.48, -0.48], [0.0, 0.0]]))
    assert (w == 0).sum() == 2


def test_the_subgradient_oversteps_zero_and_leaves_none() -> None:
    w = weight()
    penalty_step([w], Recipe(l1=0.2, l1_update="subgradient"), learning_rate=0.1)
    assert torch.allclose(w, torch.tensor([[0.48, -0.48], [-0.01, 0.01]]))
    assert (w == 0).sum() == 0


def test_l2_shrinks_by_twice_lambda_as_in_keras() -> None:
    w = weight()
    penalty_step([w], Recipe(l2=0.5), learning_rate=0.1)  # by the factor 1 - 2 * 0.1 * 0.5
    assert torch.allclose(w, weight() * 0.9)


def test_no_penalty_changes_nothing() -> None:
    w = weight()
    penalty_step([w], Recipe(), learning_rate=0.1)
    assert torch.equal(w, weight())


def test_the_penalty_is_the_sum_over_the_weights() -> None:
    # sum |w| = 1.02, sum w^2 = 0.5002
    assert penalty([weight()], Recipe(l1=2.0)) == pytest.approx(2.04)
    assert penalty([weight(), weight()], Recipe(l2=3.0)) == pytest.approx(3.0012)
    assert penalty([weight()], Recipe()) == 0


def test_only_weights_of_convolutions_and_linear_layers_are_penalised() -> None:
    network = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.Flatten(), nn.Linear(8, 3))
    assert [tuple(w.shape) for w in kernels(network)] == [(2, 1, 3, 3), (3, 8)]
