"""Speed of training with two workers and with one: `python -m train.experiments.workers`.

Each side is the whole command `python -m train`, from start to end: four runs of the baseline of ten epochs, in a new
folder. The sides take turns. Printed are runs a minute of every turn, the medians and their ratio, for which two
cores without other work are needed.
"""

import subprocess
import sys
import tempfile
import time
from pathlib import Path

from study import children
from study.errors import StudyError, exit_with
from train.experiments import turns
from train.options import positive

MODULE = "train.experiments.workers"
WORKERS = {"1 worker": 1, "2 workers": 2}


def main() -> int:
    parser = turns.parser(MODULE, __doc__)
    parser.add_argument("--runs", type=positive, default=4, metavar="N", help="of a turn (default: %(default)s)")
    parser.add_argument("--epochs", type=positive, default=10, metavar="N", help="of a run (default: %(default)s)")
    options = parser.parse_args()
    data = turns.images(options)

    def rate(side: str) -> float:
        with tempfile.TemporaryDirectory() as folder:
            (Path(folder) / "data").symlink_to(data.resolve())
            taken = minutes(WORKERS[side], options.runs, options.epochs, folder)
        return float(options.runs / taken)

    medians = turns.medians(options.turns, WORKERS, rate, show=True, unit="runs a minute")
    print(turns.summary(medians, "2 workers", unit="runs a minute"))
    print(f"{options.runs} runs of {options.epochs} epochs; {turns.conditions(options.turns)}")
    return 0


def minutes(workers: int, runs: int, epochs: int, folder: str) -> float:
    """Minutes that a training of `runs` runs takes, with the start of its processes."""
    words = ["baseline", "--seeds", ",".join(map(str, range(runs))), "--epochs", str(epochs)]
    command = [sys.executable, "-m", "train", *words, "--workers", str(workers), "--artifacts", folder]
    started = time.perf_counter()
    result = children.run(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    if result.returncode:
        raise StudyError(
            f"the turn with --workers {workers} ended with code {result.returncode}: {result.stderr.strip()}"
        )
    return (time.perf_counter() - started) / 60


if __name__ == "__main__":
    exit_with(main)
