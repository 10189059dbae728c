"""Speed of training with two workers and with one: `python -m train.experiments.workers`.

Each side is the whole command `python -m train`, from start to end: four runs of the baseline of ten epochs, in a new
folder. The sides take turns. Printed are runs a minute of every turn, the medians and their ratio, for which two
cores without other work are needed.
"""

from study.errors import exit_with
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
        seeds = ",".join(map(str, range(options.runs)))
        words = ["baseline", "--seeds", seeds, "--epochs", str(options.epochs), "--workers", str(WORKERS[side])]
        return float(options.runs / turns.minutes(words, data))

    medians = turns.medians(options.turns, WORKERS, rate, show=True, unit="runs a minute")
    print(turns.summary(medians, "2 workers", unit="runs a minute"))
    print(f"{options.runs} runs of {options.epochs} epochs; {turns.conditions(options.turns)}")
    return 0


if __name__ == "__main__":
    exit_with(main)
