"""Follow cases over the files of many sessions: changes of level, and a picture.

    python -m bench history results/                      every bench.json in the folder and its subfolders
    python -m bench history 'results/*.json' --format markdown
    python -m bench history results/ --fail-on-change     fails if the last change of a case made it slower

One series for each case, or comparison, and machine. Versions do not split a series: the picture marks where they
change. A change is found by E-divisive with a permutation test over valid sessions. Written into --output: history.json
with the changes, sessions.csv with every session, and the picture as history.svg and history.png, one for each model
where the series are many. Exit code 0: done; 1 and 3: see --fail-on-change; 2: a mistake, or a file that cannot be read
(the others are still evaluated).
"""

import argparse
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from bench.shares import share

if TYPE_CHECKING:  # with numpy, which --help does not need
    from bench.history.series import History
    from bench.history.sessions import Sessions

NEEDS = ("numpy", "scipy", "tabulate", "matplotlib")
OUTPUT = Path("artifacts/bench-history")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "files", metavar="FILE", nargs="+", help="files of `pytest bench`, folders that contain some, or patterns"
    )
    parser.add_argument("--output", metavar="DIR", type=Path, default=OUTPUT, help="default: %(default)s")
    parser.add_argument("--format", choices=["table", "markdown", "json"], default="table", help="default: %(default)s")
    parser.add_argument(
        "--false-alarms",
        metavar="5%",
        type=_probability,
        default="5%",
        help="probability of one false change or more in all series together (default: 5%%)",
    )
    parser.add_argument(
        "--fail-on-change",
        action="store_true",
        help="exit with code 1 if the last change of any case made it slower, with 3 if none did and a case has too "
        "few valid sessions to decide",
    )


def _probability(text: str) -> float:
    try:
        probability = share(text)
    except argparse.ArgumentTypeError:
        probability = 0.0
    if not 1e-4 <= probability <= 0.5:
        raise argparse.ArgumentTypeError(f"expected a probability from 0.01% to 50%, found {text!r}")
    return probability


def run(options: argparse.Namespace) -> int:
    """Print the changes and write the files; returns the exit code."""
    from bench.history import output, picture
    from bench.history.series import examine, series_of
    from bench.history.sessions import read_sessions
    from study.errors import escaped
    from study.record_files import as_json

    read = read_sessions(options.files)
    history = examine(series_of(read.sessions), options.false_alarms)
    if options.format == "json":
        print(json.dumps(as_json(output.record(history, read)), indent=2, allow_nan=False), flush=True)
    else:
        print("\n\n".join(output.paragraphs(history, read, options.format == "markdown")), flush=True)
    for path in write(history, read, options.output):
        print(f"wrote {path}", file=sys.stderr, flush=True)
    if more := picture.left_out(history):
        print(f"note: {more} further pictures are not drawn; history.json has every series", file=sys.stderr)
    for line in read.unreadable:
        print(f"error: {escaped(line)}", file=sys.stderr)
    if options.fail_on_change and any(one.slower for one in history.examined):
        return 1
    if read.unreadable:
        return 2
    undecided = any(one.changes is None and one.series.reference is None for one in history.examined)
    return 3 if options.fail_on_change and undecided else 0


def write(history: "History", read: "Sessions", folder: Path) -> Iterator[Path]:
    """Write all files, yielding each once it is there."""
    from bench.history import output, picture
    from study.files import write_bytes, write_csv
    from study.record_files import write_record

    write_record(folder / "history.json", output.record(history, read))
    yield folder / "history.json"
    write_csv(folder / "sessions.csv", output.COLUMNS, output.rows(history))
    yield folder / "sessions.csv"
    for name, content in picture.pictures(history):
        write_bytes(folder / name, content)
        yield folder / name
