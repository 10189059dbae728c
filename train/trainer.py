"""The training loop of a run: network, optimiser, learning rate schedule and loss of a recipe, epoch by epoch."""

import math

import torch
import torch.nn.functional as F  # noqa: N812, the name everybody knows it by
from torch import Tensor, nn

from study.entry import Entry
from study.evaluation import Evaluation, evaluate
from study.networks import build
from study.recipe import Recipe
from study.records.training import Device
from train.augmentation import Augmentation, mixed
from train.penalties import kernels, penalty_step


class Trainer:
    """A network in training, with its optimiser and the images of every epoch.

    Args:
        images: the training images, uint8 [N, C, H, W].
        labels: int64 [N].
        seed: of the initial weights and of the augmentation, which are the same on every device.
    """

    def __init__(self, entry: Entry, images: Tensor, labels: Tensor, seed: int, device: Device = "cpu") -> None:
        torch.manual_seed(seed)
        self.recipe = entry.recipe
        self.network = build(entry).train()
        if entry.recipe.initialisation == "he":
            initialise_he(self.network)
        self.layout = torch.channels_last if entry.recipe.bfloat16 else torch.contiguous_format
        for weight in self.network.parameters():
            if weight.dim() == 4:
                weight.data = weight.data.contiguous(memory_format=self.layout)
        if entry.recipe.dropout is not None:
            for module in self.network.modules():
                if isinstance(module, nn.Dropout):
                    module.p = entry.recipe.dropout
        self.device = device
        self.network.to(device)
        self.optimiser = optimiser(self.network, entry.recipe)
        self.seed = seed
        self.augmentation = Augmentation(images, self.recipe, seed)
        self.labels = labels
        self.steps = math.ceil(len(labels) / self.recipe.batch_size)
        """Steps in an epoch."""

    def rate(self, step: int) -> float:
        """The learning rate of a step, counted from 0 over all epochs of the recipe."""
        if self.recipe.schedule == "constant":
            return self.recipe.learning_rate
        total = self.recipe.epochs * self.steps
        peak = self.recipe.warmup * total
        rise, fall = (step + 1) / max(peak, 1), (total - step) / max(total - peak, 1)
        return self.recipe.learning_rate * min(rise, fall, 1)

    def epoch(self, epoch: int) -> tuple[float, float]:
        """Train for epoch number `epoch`, from 0.

        Returns:
            Mean loss and error rate over its augmented images, each image before the update it takes part in.
        """
        weights = kernels(self.network)
        torch.manual_seed(mixed(self.seed, epoch, 1))  # of dropout: a resumed run draws the same numbers
        self.network.train()
        shuffled, order = self.augmentation.epoch(epoch)
        batches = torch.split(shuffled.to(self.device), self.recipe.batch_size)
        targets = torch.split(self.labels[order].to(self.device), self.recipe.batch_size)
        loss_sum = torch.zeros((), dtype=torch.float64, device=self.device)
        wrong = torch.zeros((), dtype=torch.int64, device=self.device)
        for step, (batch, target) in enumerate(zip(batches, targets, strict=True)):
            rate = self.optimiser.param_groups[0]["lr"] = self.rate(epoch * self.steps + step)
            with torch.autocast(self.device, torch.bfloat16, enabled=self.recipe.bfloat16):
                logits = self.network(batch.float().div_(255).contiguous(memory_format=self.layout)).float()
            loss = criterion(logits, target, self.recipe)
            torch.autograd.backward(loss)
            self.optimiser.step()
            self.optimiser.zero_grad()
            penalty_step(weights, self.recipe, rate)
            loss_sum += loss.detach() * len(batch)
            wrong += (logits.detach().argmax(1) != target).sum()
        return loss_sum.item() / len(order), wrong.item() / len(order)

    def evaluate(self, images: Tensor, labels: Tensor) -> Evaluation:
        """Evaluate the network on uint8 images [N, C, H, W] and int64 labels [N]."""
        return evaluate(self.network, images.to(self.device), labels.to(self.device))


def initialise_he(network: nn.Module) -> None:
    """Initialise convolutions and fully-connected layers as Recipe.initialisation describes for "he"."""
    for layer in network.modules():
        if isinstance(layer, nn.Conv2d | nn.Linear):
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)


def optimiser(network: nn.Module, recipe: Recipe) -> torch.optim.Optimizer:
    """The recipe's optimiser of all parameters; its learning rate is set before each step."""
    weights, decay = network.parameters(), recipe.weight_decay
    match recipe.optimiser:
        case "sgd":
            nesterov = recipe.momentum > 0
            return torch.optim.SGD(
                weights, lr=0.0, momentum=recipe.momentum, nesterov=nesterov, weight_decay=decay, fused=True
            )
        case "adam":
            return torch.optim.Adam(weights, lr=0.0, weight_decay=decay, fused=True)
        case "adamw":
            return torch.optim.AdamW(weights, lr=0.0, weight_decay=decay, fused=True)
        case "nadam":
            return torch.optim.NAdam(weights, lr=0.0, weight_decay=decay, foreach=True)


def criterion(scores: Tensor, labels: Tensor, recipe: Recipe) -> Tensor:
    """Mean cross-entropy of `scores` (float32 [N, classes]), with the rubbish class if the recipe has one."""
    if recipe.rubbish is not None:
        scores = torch.cat([scores, scores.new_full((len(scores), 1), -recipe.rubbish)], dim=1)
    return F.cross_entropy(scores, labels, label_smoothing=recipe.label_smoothing)
