"""Speed of this project's training loop and of a textbook one: `python -m train.experiments.throughput`.

Both train LeNet-5 on one core with the same images, augmentation (mirror, shift by a pixel), batch size and optimiser:

- plain-v1, plain-v2: torchvision's data set, transforms for each image (`torchvision.transforms`, and
  `torchvision.transforms.v2`, which torchvision recommends), DataLoader, nn.Sequential;
- study: the loop of train/trainer.py.

They take turns, each time in a new process. Printed are images per second of every turn, the medians and their ratio.
"""

import argparse
import os
import subprocess
import sys
import time
from pathlib import Path

from study import catalogue, children
from study.data import fashion_mnist
from study.errors import StudyError, exit_with
from train.engine import ONE_CORE
from train.experiments import turns

MODULE = "train.experiments.throughput"
SIDES = ("plain-v1", "plain-v2", "study")
WARM_UP_STEPS = 5
PLAIN_STEPS = 60


def main() -> int:
    parser = turns.parser(MODULE, __doc__)
    parser.add_argument("--side", choices=SIDES, help=argparse.SUPPRESS)  # of the process of a turn
    options = parser.parse_args()
    data = turns.images(options)
    if options.side:
        print(study(data) if options.side == "study" else plain(data, options.side))
        return 0

    def rate(side: str) -> float:
        environment = ONE_CORE if side == "study" else {"OMP_NUM_THREADS": "1"}
        command = [sys.executable, "-m", MODULE, "--side", side, "--artifacts", str(options.artifacts)]
        pipe = subprocess.PIPE
        result = children.run(command, env={**os.environ, **environment}, stdout=pipe, stderr=pipe, text=True)
        if result.returncode:
            raise StudyError(f"the turn of {side} ended with exit code {result.returncode}: {result.stderr.strip()}")
        return float(result.stdout)

    print(turns.summary(turns.medians(options.turns, SIDES, rate, show=True), "study"))
    print(turns.conditions(options.turns))
    return 0


def study(data: Path) -> float:
    """Images per second of one epoch of the study's loop, after a short warm-up."""
    import torch

    from study.data.tensors import load
    from train.trainer import Trainer

    torch.set_num_threads(1)
    torch.manual_seed(0)
    entry = catalogue.entry("baseline")
    images, labels = load(data, train=True)
    warm_up = WARM_UP_STEPS * entry.recipe.batch_size
    Trainer(entry, images[:warm_up], labels[:warm_up], seed=0).epoch(0)
    trainer = Trainer(entry, images, labels, seed=0)
    started = time.perf_counter()
    trainer.epoch(0)
    return len(images) / (time.perf_counter() - started)


def plain(data: Path, side: str) -> float:
    """Images per second of the plain loop, over `PLAIN_STEPS` batches."""
    import torch
    from torch import nn
    from torch.utils.data import DataLoader

    from study.data.tensors import import_torchvision

    import_torchvision()
    from torchvision import datasets, transforms
    from torchvision.transforms import v2

    torch.set_num_threads(1)
    torch.manual_seed(0)
    recipe = catalogue.entry("baseline").recipe
    statistics = (fashion_mnist.MEAN,), (fashion_mnist.STD,)
    if side == "plain-v1":
        steps = [transforms.RandomHorizontalFlip(), transforms.RandomCrop(28, padding=recipe.shift)]
        steps += [transforms.ToTensor(), transforms.Normalize(*statistics)]
    else:
        steps = [v2.ToImage(), v2.RandomHorizontalFlip(), v2.RandomCrop(28, padding=recipe.shift)]
        steps += [v2.ToDtype(torch.float32, scale=True), v2.Normalize(*statistics)]
    images = datasets.FashionMNIST(data, train=True, transform=transforms.Compose(steps))
    network = nn.Sequential(
        *(nn.Conv2d(1, 6, 5, padding=2), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Conv2d(6, 16, 5), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten()),
        *(nn.Linear(400, 120), nn.ReLU(), nn.Linear(120, 84), nn.ReLU(), nn.Linear(84, 10)),
    )
    optimiser = torch.optim.SGD(network.parameters(), lr=recipe.learning_rate, momentum=recipe.momentum, nesterov=True)
    criterion = nn.CrossEntropyLoss()
    for step, (batch, labels) in enumerate(DataLoader(images, batch_size=recipe.batch_size, shuffle=True)):
        if step == WARM_UP_STEPS:
            started = time.perf_counter()
        optimiser.zero_grad()
        criterion(network(batch), labels).backward()
        optimiser.step()
        if step + 1 == WARM_UP_STEPS + PLAIN_STEPS:
            break
    return PLAIN_STEPS * recipe.batch_size / (time.perf_counter() - started)


if __name__ == "__main__":
    exit_with(main)
