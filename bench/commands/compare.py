"""Compare two files of `pytest bench`: a gate for regressions.

    python -m bench compare OLD NEW                            no case may be slower by more than 5 %
    python -m bench compare OLD NEW --fail-above 3%,p99=30%    other limits
    python -m bench compare OLD NEW --format markdown          for a pull request

The ratio is new over old. Exit code 0: every quantity is shown to be within its limit; 1: one is shown to exceed it;
3: that is not decided, because intervals are wide, or quantities are withheld or missing; 2: a mistake, or files that
cannot be compared.
"""

import argparse
import json
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

from bench.gate.conditions import ALLOWABLE
from bench.gate.limits import METRICS, add_limits
from study.records.bench import BenchEnvironment
from study.records.gate import Metric

NEEDS = ("numpy", "scipy", "tabulate")
REMEDY = "measure with `pytest bench --benchmark-json=FILE`"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("old", metavar="OLD", type=Path, help="the file to compare with")
    parser.add_argument("new", metavar="NEW", type=Path, help="the file that may have become slower")
    add_limits(parser)
    parser.add_argument(
        "--metrics",
        metavar="A,B",
        type=_metrics,
        help=f"some of {','.join(METRICS)}; one that a file lacks makes the exit code 3 (default: all that both have)",
    )
    parser.add_argument("--format", choices=["table", "markdown", "json"], default="table", help="default: %(default)s")
    parser.add_argument(
        "--allow",
        metavar="A,B",
        type=_allowed,
        default=(),
        help=f"compare although these differ: {', '.join(ALLOWABLE)}, or all",
    )


def _metrics(text: str) -> tuple[Metric, ...]:
    words = [word.strip() for word in text.split(",")]
    if not set(words) <= set(METRICS):
        raise argparse.ArgumentTypeError(f"expected some of {','.join(METRICS)}; found {text!r}")
    return tuple(metric for metric in METRICS if metric in words)


def _allowed(text: str) -> tuple[str, ...]:
    words = tuple(word.strip() for word in text.split(","))
    if words == ("all",):
        return ALLOWABLE
    if not set(words) <= set(ALLOWABLE):
        raise argparse.ArgumentTypeError(f"expected some of {','.join(ALLOWABLE)}, or all; found {text!r}")
    return words


def run(options: argparse.Namespace) -> int:
    """Print the comparison; returns the exit code of the gate."""
    from msgspec.structs import replace

    from bench.gate.compare import compare
    from bench.gate.report import paragraphs
    from study.bench_file import moment, read_dated
    from study.record_files import as_json

    files = [("old", options.old), ("new", options.new)]
    (old, _), (new, _) = read = [read_dated(path, REMEDY, older=True) for _, path in files]
    dates = [moment(text) for _, text in read]
    found = compare(old, new, options.fail_above, options.metrics, options.allow)
    found = replace(found, notes=(*found.notes, *_covered(dates)))
    if options.format == "json":
        print(json.dumps(as_json(found), indent=1), flush=True)
        return found.exit_code
    heads = [
        f"{which}: {described(path, record.environment, date)}"
        for (which, path), (record, _), date in zip(files, read, dates, strict=True)
    ]
    print("\n\n".join(paragraphs(heads, found, options.format == "markdown")), flush=True)
    return found.exit_code


def described(path: Path, environment: BenchEnvironment, date: datetime | None) -> str:
    """One line on a file: date, commit, machine and versions."""
    from study.environment import describe

    description = describe(environment)
    when = date.isoformat(timespec="seconds")[:19] if date else "no date"
    return f"{path}, {when}, {description.commit}; {description.machine}, {description.versions}"


def _covered(moments: list[datetime | None]) -> Iterator[str]:
    """What the intervals do not cover."""
    dates = [date.replace(tzinfo=None) for date in moments if date]
    apart = ""
    if len(dates) == 2 and (hours := abs((dates[1] - dates[0]).total_seconds()) / 3600) >= 1:
        apart = f" (these were measured {f'{hours / 24:.0f} days' if hours >= 48 else f'{hours:.0f} hours'} apart)"
    yield (
        "The intervals cover what varies between the processes of a session, not what differs between two sessions, "
        f"such as a reboot or another day{apart}; `python -m bench ab` measures both sides in one session."
    )
