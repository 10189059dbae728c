"""Time sides in turns, so that a drift of the machine affects all of them alike: options, rates and their summary."""

import argparse
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from statistics import median

from study import children
from study.artifacts import DEFAULT_ROOT, Artifacts
from study.command_line import Parser
from study.data import fashion_mnist
from study.environment import describe, environment
from study.errors import StudyError


def parser(module: str, description: str | None) -> argparse.ArgumentParser:
    """A parser with --turns, --data and --artifacts."""
    made = Parser(
        prog=f"python -m {module}", description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = made.add_argument
    add("--turns", type=int, choices=range(1, 100), default=5, metavar="N", help="of each side (default: %(default)s)")
    add("--data", type=Path, metavar="DIR", help="folder with the Fashion-MNIST files")
    add("--artifacts", type=Path, default=DEFAULT_ROOT, metavar="DIR", help="default: %(default)s")
    return made


def images(options: argparse.Namespace) -> Path:
    """The data folder, with Fashion-MNIST in it."""
    return fashion_mnist.prepare(Artifacts(options.artifacts).data, options.data)


def train(words: Sequence[str]) -> None:
    """Run `python -m train`.

    Raises:
        StudyError: it fails.
    """
    command = [sys.executable, "-m", "train", *words]
    done = children.run(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    if done.returncode:
        raise StudyError(f"python -m train {' '.join(words)}: exit code {done.returncode}: {done.stdout}{done.stderr}")


def minutes(words: Sequence[str], data: Path) -> float:
    """Minutes that `python -m train` takes in a new folder, from start to end.

    Raises:
        StudyError: as `train`.
    """
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "data").symlink_to(data.resolve())
        started = time.perf_counter()
        train([*words, "--artifacts", folder])
        return (time.perf_counter() - started) / 60


def medians(
    turns: int, sides: Iterable[str], rate: Callable[[str], float], show: bool = False, unit: str = "images/s"
) -> dict[str, float]:
    """The median rate of each side; `rate` measures one."""
    rates: dict[str, list[float]] = {side: [] for side in sides}
    for turn in range(1, turns + 1):
        for side, measured in rates.items():
            measured.append(rate(side))
            if show:
                print(f"turn {turn}: {side} {_digits(measured[-1])} {unit}", flush=True)
    return {side: median(measured) for side, measured in rates.items()}


def _digits(rate: float) -> str:
    return f"{rate:,.0f}" if rate >= 100 else f"{rate:.3g}"


def summary(medians: dict[str, float], ours: str, unit: str = "images/s") -> str:
    """All medians, and the ratios of `ours` to the others."""
    shown = ", ".join(f"{side} {_digits(rate)}" for side, rate in medians.items())
    ratios = ", ".join(f"{medians[ours] / rate:.3g} times {side}" for side, rate in medians.items() if side != ours)
    return f"{shown} {unit}; {ours} is {ratios}"


def conditions(turns: int) -> str:
    """How it was measured, and where."""
    return f"medians of {turns} turns, one thread; {describe(environment())}"
