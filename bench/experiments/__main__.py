"""Experiments on the bench itself: are its numbers right? docs/method.md has the results.

    python -m bench.experiments simulated      intervals, verdicts and forecasts where the truth is known, two minutes
    python -m bench.experiments gate           the same for `bench compare`: error rates and power
    python -m bench.experiments two-speeds-simulated   a machine that changes its speed: right, or withheld? a minute
    python -m bench.experiments steps          `bench history`: planted changes, and flat series; some minutes
    python -m bench.experiments sessions       twenty sessions: do the intervals of one hold for the others?
    python -m bench.experiments control        the same engine twice, 40 sessions: does the interval contain 1?
    python -m bench.experiments planted        the same sessions: is an engine that does 3 % more work shown slower?
    python -m bench.experiments ab             the same two with `bench ab`, a quarter of an hour
    python -m bench.experiments neighbour      another process keeps one core busy
    python -m bench.experiments two-speeds     another process contends for the caches in stretches, 20 sessions
    python -m bench.experiments last-cache     what a neighbour in the last cache does, and which loop sees it
    python -m bench.experiments rounds         the rounds of a comparison: are they as alike as `simulated` assumes?
    python -m bench.experiments places         an engine as a case and in turns: does it take the same time?
    python -m bench.experiments bare-loop      the median of the bench against a loop around `session.run`
    python -m bench.experiments loadgen        against MLPerf LoadGen (`pip install mlcommons-loadgen`)
    python -m bench.experiments queue          a server of constant calls under random arrivals against theory
    python -m bench.experiments profile        do operators and the time outside of them add up to a call?
    python -m bench.experiments closed-session torch after a closed ONNX Runtime session, and without one

Each but the first four needs an idle machine and trained and exported models. `sessions` takes an hour, `control`
and `planted` together half an hour; their sessions are kept, so that an interrupted experiment goes on where it
stopped. The others take some minutes.
"""

import argparse
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path

from study.command_line import Parser
from study.errors import exit_with

NAMES = (
    "simulated",
    "gate",
    "two-speeds-simulated",
    "steps",
    "sessions",
    "control",
    "planted",
    "ab",
    "neighbour",
    "two-speeds",
    "last-cache",
    "rounds",
    "places",
    "bare-loop",
    "loadgen",
    "queue",
    "profile",
    "closed-session",
)


def arguments(words: Sequence[str] | None) -> argparse.Namespace:
    parser = Parser(
        prog="python -m bench.experiments",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("name", choices=NAMES, metavar="NAME")
    parser.add_argument("--model", default="baseline", help="model of the catalogue (default: %(default)s)")
    parser.add_argument("--runtime", default="onnxruntime", help="default: %(default)s")
    parser.add_argument("--batch", type=int, default=1, help="default: %(default)s")
    parser.add_argument("--repetitions", type=int, metavar="N", help="default: 40 sessions, or 5 to 20 repetitions")
    parser.add_argument(
        "--seconds",
        type=float,
        help="as for `pytest bench` (default: 1; 0.5 for many sessions; 300 in all for last-cache)",
    )
    parser.add_argument(
        "--keep",
        type=Path,
        default=Path("artifacts/experiments"),
        metavar="DIR",
        help="folder for the sessions of an experiment that goes on where it stopped (default: %(default)s)",
    )
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
