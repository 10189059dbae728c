"""How much faster the study trains than the plain loop everybody writes: `python -m train.experiments.throughput`.

Both train LeNet-5 on one core with the same images, augmentation (mirror, shift by a pixel), batch size and optimiser:

- plain-v1, plain-v2: torchvision's data set, transforms image by image (`torchvision.transforms`, and
  `torchvision.transforms.v2`, which torchvision recommends), DataLoader, nn.Sequential;
- study: the loop of train/fitting.py.

They take turns, each time in a fresh process, so that a drift of the machine meets both. Printed are images per
second and core of every turn, the medians and their ratio.
"""

import argparse
import os
import subprocess
import sys
import time
from pathlib import Path
from statistics import median

from study import catalogue
from study.artifacts import DEFAULT_ROOT, Artifacts
from study.data import fashion_mnist
from study.environment import cpu_name, versions
from study.errors import StudyError, exit_with
from train.engine import ONE_CORE

SIDES = ("plain-v1", "plain-v2", "study")
WARM_UP_STEPS = 5
PLAIN_STEPS = 60


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m train.experiments.throughput",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--turns", type=int, choices=range(1, 100), default=5, metavar="N", help="of each side (default: %(default)s)"
    )
    parser.add_argument("--data", type=Path, metavar="DIR", help="folder with the Fashion-MNIST files")
    parser.add_argument("--artifacts", type=Path, default=DEFAULT_ROOT, metavar="DIR", help="default: %(default)s")
    parser.add_argument("--side", choices=SIDES, help=argparse.SUPPRESS)  # what a turn's process is told
    return parser.parse_args()


def main() -> int:
    options = arguments()
    data = fashion_mnist.prepare(Artifacts(options.artifacts).data, options.data)
    if options.side:
        print(study(data) if options.side == "study" else plain(data, options.side))
        return 0
    found: dict[str, list[float]] = {side: [] for side in SIDES}
    for turn in range(options.turns):
        for side in SIDES:
            environment = ONE_CORE if side == "study" else {"OMP_NUM_THREADS": "1"}
            command = [
                sys.executable,
                "-m",
                "train.experiments.throughput",
                "--side",
                side,
                "--artifacts",
                str(options.artifacts),
            ]
            result = subprocess.run(command, env={**os.environ, **environment}, capture_output=True, text=True)
            if result.returncode:
                raise StudyError(
                    f"the turn of {side} ended with exit code {result.returncode}: {result.stderr.strip()}"
                )
            found[side].append(float(result.stdout))
            print(f"turn {turn + 1}: {side} {found[side][-1]:,.0f} images/s", flush=True)
    medians = {side: median(rates) for side, rates in found.items()}
    shown = ", ".join(f"{side} {rate:,.0f}" for side, rate in medians.items())
    ratios = ", ".join(f"{medians['study'] / medians[side]:.1f} times {side}" for side in SIDES[:2])
    packages = ", ".join(f"{name} {versions()[name]}" for name in ("torch", "torchvision"))
    print(f"images per second and core, median of {options.turns} turns: {shown}")
    print(f"the study's loop is {ratios}; {cpu_name()}, {packages}, one thread")
    return 0


def study(data: Path) -> float:
    """Images per second of one epoch of the study's loop, after a short one to warm up."""
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
    transform = transforms.Compose(steps)
    loader = DataLoader(
        datasets.FashionMNIST(data, train=True, transform=transform), batch_size=recipe.batch_size, shuffle=True
    )
    network = nn.Sequential(
        *(nn.Conv2d(1, 6, 5, padding=2), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Conv2d(6, 16, 5), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten()),
        *(nn.Linear(400, 120), nn.ReLU(), nn.Linear(120, 84), nn.ReLU(), nn.Linear(84, 10)),
    )
    optimiser = torch.optim.SGD(network.parameters(), lr=recipe.learning_rate, momentum=recipe.momentum, nesterov=True)
    criterion = nn.CrossEntropyLoss()
    for step, (images, labels) in enumerate(loader):
        if step == WARM_UP_STEPS:
            started = time.perf_counter()
        optimiser.zero_grad()
        criterion(network(images), labels).backward()
        optimiser.step()
        if step + 1 == WARM_UP_STEPS + PLAIN_STEPS:
            break
    return PLAIN_STEPS * recipe.batch_size / (time.perf_counter() - started)


if __name__ == "__main__":
    exit_with(main)
