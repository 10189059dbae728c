"""Compare two files of `pytest bench`: a gate for what has become slower.

    python -m bench compare OLD NEW                      any case shown to be slower fails
    python -m bench compare OLD NEW --fail-above 3%      only one shown to be slower, and by a ratio above 1.03
    python -m bench compare OLD NEW --format markdown    for a pull request

The ratio is new over old, its value and not the end of its interval. Exit code 1: a case is shown to be slower, and by
a ratio above the limit; 0: none is; 2: a mistake, or files that cannot be compared.
"""

import argparse
import json
import math
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from bench.compare import ALLOWABLE, Change, Comparison, compare
from study.errors import exit_with

UNITS = (("µs", 1e-6), ("ms", 1e-3), ("s", 1.0))
HEADINGS = ("old", "new", "ratio", "95 % interval", "noise floor", "verdict", "remark")
REMEDY = "measure with `pytest bench --benchmark-json=FILE`"


def arguments(words: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench", description="Work on the files that `pytest bench` wrote.")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    summary = (__doc__ or "").splitlines()[0]
    command = commands.add_parser("compare", help=summary, description=summary)
    command.add_argument("old", metavar="OLD", type=Path, help="the file to compare with")
    command.add_argument("new", metavar="NEW", type=Path, help="the file that may be slower")
    command.add_argument(
        "--fail-above",
        metavar="3%",
        type=_fraction,
        default=0.0,
        help="leave with code 1 where a case is shown to be slower, and by a ratio above 1.03 for 3%% or 0.03 "
        "(the ratio itself, not the end of its interval; default: 0%%)",
    )
    command.add_argument("--format", choices=["table", "markdown"], default="table", help="default: %(default)s")
    command.add_argument(
        "--allow",
        metavar="A,B",
        type=_allowed,
        default=(),
        help=f"compare although these differ: {', '.join(ALLOWABLE)}, or all",
    )
    return parser.parse_args(words)


def _fraction(text: str) -> float:
    number, percent, rest = text.partition("%")
    try:
        fraction = float(number) / (100 if percent else 1)
    except ValueError:
        fraction = math.nan
    if rest.strip() or not 0 <= fraction < math.inf or (fraction >= 1 and not percent):  # 3 is a 3 % that lost its sign
        raise argparse.ArgumentTypeError(f"expected a share such as 3% or 0.03, found {text!r}")
    return fraction


def _allowed(text: str) -> tuple[str, ...]:
    words = tuple(word.strip() for word in text.split(","))
    if words == ("all",):
        return ALLOWABLE
    if not set(words) <= set(ALLOWABLE):
        raise argparse.ArgumentTypeError(f"expected some of {','.join(ALLOWABLE)}, or all; found {text!r}")
    return words


def main(words: Sequence[str] | None = None) -> int:
    """Print the comparison; `words` are the command line's unless given. Gives 1 where the gate fails."""
    options = arguments(words)

    from study.artifacts import read_bench

    old, new = read_bench(options.old, REMEDY), read_bench(options.new, REMEDY)
    comparison = compare(old, new, options.allow)
    markdown = options.format == "markdown"
    files = [("old", options.old, old), ("new", options.new, new)]
    heads = [f"{which}: {describe(path, record['environment'])}" for which, path, record in files]
    print("\n\n".join(paragraphs(heads, comparison, options.fail_above, markdown)), flush=True)
    if all(change.verdict == "withheld" for change in comparison.cases):
        print("nothing could be judged: every case is withheld, for the reasons above; measure again", file=sys.stderr)
    return int(any(change.slower_than(options.fail_above) for change in comparison.cases))


def describe(path: Path, environment: dict[str, Any]) -> str:
    """A file in one line: its date if it has one, commit, machine and versions."""
    try:
        date = json.loads(path.read_bytes())["datetime"][:19]
    except (ValueError, KeyError, TypeError):  # of a session that was cut short
        date = "no date"
    commit = f"commit {environment['commit'][:12]}" if environment["commit"] else "no commit known"
    versions = ", ".join(f"{package} {version}" for package, version in environment["packages"].items())
    return (
        f"{path}, {date}, {commit}{' with uncommitted changes' if environment['dirty'] else ''}; {environment['cpu']}, "
        f"{environment['cores']} cores, {environment['memory_bytes'] / 2**30:.0f} GiB, Python {environment['python']}"
        f"{', ' if versions else ''}{versions}"
    )


def paragraphs(heads: Sequence[str], comparison: Comparison, limit: float, markdown: bool) -> Iterator[str]:
    """The parts of the output, in Markdown or to be read as they are."""

    def lines(texts: Sequence[str]) -> str:
        return "\n".join(f"- {text}" if markdown else text for text in texts)

    strong = "**" if markdown else ""
    loud = [
        f"{strong}NOT MEASURED ALIKE{strong}, {word} (old against new): {', '.join(texts)}"
        for word, texts in comparison.differences.items()
        if word != "also"
    ]
    quiet = [f"also different: {', '.join(texts)}" for texts in [comparison.differences.get("also")] if texts]
    yield lines([*heads, *loud, *quiet])
    yield table("case", comparison.cases, _times, markdown)
    notes = withheld(comparison.cases)
    for which, names in (("old", comparison.only_old), ("new", comparison.only_new)):
        notes += [f"only in the {which} file: {', '.join(names)}"] if names else []
    if notes:
        yield lines(notes)
    if comparison.speed_ups:
        yield table("speed-up", comparison.speed_ups, _speed_ups, markdown)
        yield lines([*withheld(comparison.speed_ups), "Speed-ups do not decide the exit code."])
    yield lines(list(conclusion(comparison, limit)))


def withheld(changes: Sequence[Change]) -> list[str]:
    """Which verdicts are withheld, and why."""
    return [f"withheld: {change.name}: {'; '.join(change.doubts)}" for change in changes if change.doubts]


def conclusion(comparison: Comparison, limit: float) -> Iterator[str]:
    """The last lines: what fails, what is not known, and how many of each verdict."""
    if failed := [change.name for change in comparison.cases if change.slower_than(limit)]:
        yield f"shown to be slower, and by a ratio above {1 + limit:g}: {', '.join(failed)}"
    if comparison.one_process:
        yield "The spread between processes is not known: measure with `--processes 3` to include it."
    verdicts = [change.verdict for change in comparison.cases]
    told = {"no difference shown": "without a difference shown"}
    kinds = ("slower", "faster", "no difference shown", "withheld")
    yield ", ".join(f"{verdicts.count(kind)} {told.get(kind, kind)}" for kind in kinds)


def table(kind: str, changes: Sequence[Change], values: Callable[[Change], Sequence[str]], markdown: bool) -> str:
    """One row a change; what is withheld has no ratio."""
    from tabulate import tabulate

    rows = []
    for change in changes:
        ratio = change.ratio
        shown = [
            f"{ratio.value:.3f}",
            f"{ratio.low:.3f} to {ratio.high:.3f}",
            f"{math.expm1(change.floor) * 100:.1f} %",
        ]
        measured = ["-"] * 3 if change.doubts else shown
        rows.append([change.name, *values(change), *measured, change.verdict, ", ".join(change.remarks)])
    if markdown:
        rows = [[cell.replace("|", "\\|") for cell in row] for row in rows]
    align = ["left", *["right"] * 5, "left", "left"]
    style = "pipe" if markdown else "simple"
    return tabulate(rows, (kind, *HEADINGS), tablefmt=style, disable_numparse=True, colalign=align)


def _times(change: Change) -> tuple[str, str]:
    """Both in the unit, and to the digit, that suits the smaller."""
    smaller = min(change.old, change.new)
    unit, size = next(((unit, size) for unit, size in reversed(UNITS) if smaller >= size), UNITS[0])
    digits = 1 if smaller >= 100 * size else 2
    return f"{change.old / size:,.{digits}f} {unit}", f"{change.new / size:,.{digits}f} {unit}"


def _speed_ups(change: Change) -> tuple[str, str]:
    return f"{change.old:.2f}x", f"{change.new:.2f}x"


if __name__ == "__main__":
    exit_with(main)
