"""The training loop: learning rate, optimisers, loss and initialisation of a recipe, by their formulas."""

import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from msgspec import structs
from torch import Tensor

from study import catalogue
from study.data.tensors import load
from study.entries import LENET5
from study.entry import Entry
from study.networks import build
from study.networks.lenet5 import LeNet5
from study.recipe import Recipe
from train.fitting import Images
from train.trainer import Trainer, criterion

PLAIN = Recipe(epochs=1, batch_size=50, schedule="constant", learning_rate=0.01, flip=False, shift=0, unshifted=0)


def trainer(recipe: Recipe, few: Images, network: str = LENET5) -> Trainer:
    return Trainer(Entry("mine", network, recipe), *few.train, seed=0)


def test_one_cycle_rises_to_the_peak_and_falls_to_zero(few: Images) -> None:
    cycle = trainer(Recipe(epochs=10, batch_size=100, learning_rate=0.3, warmup=0.2), few)
    assert cycle.steps == 10
    rates = [cycle.rate(step) for step in range(100)]
    assert rates[0] == pytest.approx(0.3 / 20)
    assert rates[19] == pytest.approx(0.3) == max(rates)
    assert rates[60] == pytest.approx(0.3 / 2)
    assert rates[99] == pytest.approx(0.3 / 80)


def test_one_cycle_may_be_all_fall_or_all_rise(few: Images) -> None:
    for warmup in (0.0, 1.0):
        cycle = trainer(Recipe(epochs=1, batch_size=100, learning_rate=0.4, warmup=warmup), few)
        rates = [cycle.rate(step) for step in range(10)]
        assert sorted(rates, reverse=warmup == 0.0) == rates
        assert [min(rates), max(rates)] == pytest.approx([0.04, 0.4])


def test_a_constant_rate_is_constant(few: Images) -> None:
    assert {trainer(PLAIN, few).rate(step) for step in range(20)} == {0.01}


def test_a_fresh_model_guesses(data: Path) -> None:
    """Its first loss is within 10 % of ln 10: it has not been trained before."""
    images, labels = load(data, train=True)
    for entry in catalogue.select():
        for seed in catalogue.DEFAULT_SEEDS:
            torch.manual_seed(seed)
            loss = F.cross_entropy(build(entry)(images[:128].float() / 255), labels[:128]).item()
            assert loss == pytest.approx(math.log(10), rel=0.1)


def one_step(recipe: Recipe, few: Images) -> tuple[Tensor, Tensor, Tensor]:
    """Weights of the output layer before and after one step, and their gradient."""
    part = few.train[0][:50], few.train[1][:50]
    one = trainer(recipe, replace(few, train=part))
    network = one.network
    assert isinstance(network, LeNet5)
    before = network.fc3.weight.detach().clone()
    images, order = one.augmentation.epoch(0)
    criterion(network(images.float() / 255), part[1][order], recipe).backward()  # type: ignore[no-untyped-call]
    assert network.fc3.weight.grad is not None
    gradient = network.fc3.weight.grad.clone()
    network.zero_grad()
    one.epoch(0)
    return before, network.fc3.weight.detach(), gradient


def test_sgds_first_step_is_nesterovs_or_with_weight_decay(few: Images) -> None:
    before, after, gradient = one_step(PLAIN, few)
    torch.testing.assert_close(after, before - 0.01 * (gradient + 0.9 * gradient))
    before, after, gradient = one_step(structs.replace(PLAIN, momentum=0.0, weight_decay=0.1), few)
    torch.testing.assert_close(after, before - 0.01 * (gradient + 0.1 * before))


def test_the_first_step_of_adam_is_the_sign_of_the_gradient_and_adamw_decays_apart_from_it(few: Images) -> None:
    before, after, gradient = one_step(structs.replace(PLAIN, optimiser="adam"), few)
    torch.testing.assert_close(after, before - 0.01 * gradient / (gradient.abs() + 1e-8))
    before, after, gradient = one_step(structs.replace(PLAIN, optimiser="adamw", weight_decay=0.1), few)
    torch.testing.assert_close(after, before * (1 - 0.01 * 0.1) - 0.01 * gradient / (gradient.abs() + 1e-8))


def test_nadams_first_step_is_dozats(few: Images) -> None:
    """Dozat 2016 as torch has it: mu_t = 0.9 * (1 - 0.5 * 0.96 ** (t * 0.004))."""
    before, after, gradient = one_step(structs.replace(PLAIN, optimiser="nadam"), few)
    mu1, mu2 = (0.9 * (1 - 0.5 * 0.96 ** (t * 0.004)) for t in (1, 2))
    size = (1 - mu1) / (1 - mu1) + mu2 * 0.1 / (1 - mu1 * mu2)
    torch.testing.assert_close(after, before - 0.01 * size * gradient / (gradient.abs() + 1e-8))


def test_the_map_criterion_is_the_papers() -> None:
    """LeCun et al. 1998, equation 9: y_D + log(e^-j + sum_i e^-y_i) with distances y, by hand for two images."""
    distances = torch.tensor([[1.0, 2.0, 4.0], [3.0, 0.5, 2.0]])
    labels = torch.tensor([0, 2])
    by_hand = [
        1.0 + math.log(math.exp(-1.5) + math.exp(-1) + math.exp(-2) + math.exp(-4)),
        2.0 + math.log(math.exp(-1.5) + math.exp(-3) + math.exp(-0.5) + math.exp(-2)),
    ]
    loss = criterion(-distances, labels, Recipe(rubbish=1.5)).item()
    assert loss == pytest.approx(sum(by_hand) / 2, rel=1e-6)


def test_he_draws_kernels_of_variance_two_over_fan_in_and_leaves_no_bias(few: Images) -> None:
    own, he = (trainer(structs.replace(PLAIN, initialisation=kind), few).network for kind in ("own", "he"))
    for name, fan_in in (("fc1", 400), ("fc2", 120)):
        kernel, bias = he.get_parameter(f"{name}.weight"), he.get_parameter(f"{name}.bias")
        assert kernel.std().item() == pytest.approx(math.sqrt(2 / fan_in), rel=0.02)
        assert kernel.abs().max().item() > 3 * math.sqrt(2 / fan_in)  # a normal distribution, not a uniform one
        assert not bias.any()
        assert own.get_parameter(f"{name}.bias").all()


def test_the_recipes_dropout_is_every_layers(few: Images) -> None:
    network = trainer(structs.replace(PLAIN, dropout=0.125), few, "study.networks.tuned:Tuned").network
    assert [module.p for module in network.modules() if isinstance(module, torch.nn.Dropout)] == [0.125, 0.125]
