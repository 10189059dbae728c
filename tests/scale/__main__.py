"""Write a made-up study of any size, to see how far `python -m analysis` and the bench's commands reach.

    python -m tests.scale /tmp/large                              60 models of 30 runs, 100,000 benchmark cases
    python -m tests.scale /tmp/large --models 6 --seeds 3 --cases 336
    python -m tests.scale /tmp/large --layers 120x400,84x120,10x84   layers as large as LeNet-5's

Prints the command that reports on it, with GNU time's options where that is installed.
"""

import argparse
from pathlib import Path

from study.artifacts import Artifacts
from tests.scale.measurements import write_measurements
from tests.scale.trainings import LAYERS, Size, write_runs


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.scale", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("folder", metavar="DIR", type=Path, help="the artifacts folder to write")
    parser.add_argument("--models", metavar="N", type=int, default=60)
    parser.add_argument("--seeds", metavar="N", type=int, default=30, help="runs of each model (default: 30)")
    parser.add_argument("--cases", metavar="N", type=int, default=100_000, help="benchmark cases; 0: no bench.json")
    parser.add_argument("--samples", metavar="N", type=int, default=20, help="timed calls of a case (default: 20)")
    parser.add_argument("--epochs", metavar="N", type=int, default=28)
    parser.add_argument("--layers", metavar="OUTxIN,...", default=LAYERS, help=f"default: {LAYERS}")
    options = parser.parse_args()
    artifacts = Artifacts(options.folder)
    shapes = [tuple(map(int, shape.split("x"))) for shape in options.layers.split(",")]
    names = write_runs(artifacts, Size(options.models, options.seeds, options.epochs, shapes))
    print(f"{options.models * options.seeds:,} runs of {options.models} models in {artifacts.root}")
    if options.cases:
        count = write_measurements(artifacts, names, options.seeds, options.cases, options.samples)
        print(f"{count:,} benchmark cases in {artifacts.bench}, {artifacts.bench.stat().st_size / 2**20:,.0f} MiB")
    print(f"python -m analysis --artifacts {artifacts.root} --models {','.join(names)}")


if __name__ == "__main__":
    main()
