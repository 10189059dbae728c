"""Experiments on the bench itself: are its numbers right? docs/method.md has the results.

    python -m bench.experiments control        the same engine twice: does the interval contain 1?
    python -m bench.experiments planted        an engine that does 3 % more work: is it shown to be slower?
    python -m bench.experiments invocations    the speed-up in five separate sessions
    python -m bench.experiments neighbour      another process keeps one core busy
    python -m bench.experiments bare-loop      the median of the bench against a loop around `session.run`
    python -m bench.experiments loadgen        against MLPerf LoadGen (`pip install mlcommons-loadgen`)
    python -m bench.experiments gate           simulated: error rates and power of `bench compare`; some seconds
    python -m bench.experiments closed-session torch after a closed ONNX Runtime session, and without one

Each takes some minutes on an idle machine, and needs a trained and exported model.
"""

import argparse
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path

from study.errors import exit_with

NAMES = ("control", "planted", "invocations", "neighbour", "bare-loop", "loadgen", "closed-session", "gate")


def arguments(words: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m bench.experiments",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("name", choices=NAMES, metavar="NAME")
    parser.add_argument("--model", default="baseline", help="model of the catalogue (default: %(default)s)")
    parser.add_argument("--runtime", default="onnxruntime", help="default: %(default)s")
    parser.add_argument("--batch", type=int, default=1, help="default: %(default)s")
    parser.add_argument("--repetitions", type=int, metavar="N", help="default: 40; 5 to 20 for slow experiments")
    parser.add_argument("--seconds", type=float, default=2.0, help="as for `pytest bench` (default: %(default)s)")
    parser.add_argument("--artifacts", type=Path, default=Path("artifacts"), metavar="DIR", help="default: artifacts")
    return parser.parse_args(words)


def main(words: Sequence[str] | None = None) -> int:
    """Run one experiment; returns 1 if it misses the target in docs/method.md."""
    options = arguments(words)
    from bench.plan import limit_threads

    limit_threads(2 if options.name == "closed-session" else 1)
    experiment = import_module(f"bench.experiments.{options.name.replace('-', '_')}")
    reached: bool = experiment.run(options)
    print("reached" if reached else "NOT REACHED")
    return 0 if reached else 1


if __name__ == "__main__":
    exit_with(main)
