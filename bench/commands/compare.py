"""Compare two files of `pytest bench`: a gate for regressions.

    python -m bench compare OLD NEW                      fails if any case is shown to be slower
    python -m bench compare OLD NEW --fail-above 3%      fails if any case is shown to be slower by a ratio above 1.03
    python -m bench compare OLD NEW --format markdown    for a pull request

The ratio is new over old; the limit applies to its value, not to the end of its interval. Exit code 1: a case is shown
to be slower by a ratio above the limit; 0: none is; 2: a mistake, or files that cannot be compared.
"""

import argparse
import json
import math
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from bench.compare import ALLOWABLE, Change, Changes, compare
from bench.units import unit
from study.records.bench import BenchEnvironment

HEADINGS = ("old", "new", "ratio", "95 % interval", "noise floor", "verdict", "remark")
REMEDY = "measure with `pytest bench --benchmark-json=FILE`"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("old", metavar="OLD", type=Path, help="the file to compare with")
    parser.add_argument("new", metavar="NEW", type=Path, help="the file that may have become slower")
    parser.add_argument(
        "--fail-above",
        metavar="3%",
        type=_fraction,
        default=0.0,
        help="exit with code 1 if a case is shown to be slower by a ratio above 1.03 for 3%% or 0.03 (the ratio "
        "itself, not the end of its interval; default: 0%%)",
    )
    parser.add_argument("--format", choices=["table", "markdown"], default="table", help="default: %(default)s")
    parser.add_argument(
        "--allow",
        metavar="A,B",
        type=_allowed,
        default=(),
        help=f"compare although these differ: {', '.join(ALLOWABLE)}, or all",
    )


def _fraction(text: str) -> float:
    number, percent, rest = text.partition("%")
    try:
        fraction = float(number) / (100 if percent else 1)
    except ValueError:
        fraction = math.nan
    if rest.strip() or not 0 <= fraction < math.inf or (fraction >= 1 and not percent):  # 3 may mean 3 %
        raise argparse.ArgumentTypeError(f"expected a share such as 3% or 0.03, found {text!r}")
    return fraction


def _allowed(text: str) -> tuple[str, ...]:
    words = tuple(word.strip() for word in text.split(","))
    if words == ("all",):
        return ALLOWABLE
    if not set(words) <= set(ALLOWABLE):
        raise argparse.ArgumentTypeError(f"expected some of {','.join(ALLOWABLE)}, or all; found {text!r}")
    return words


def run(options: argparse.Namespace) -> int:
    """Print the comparison; returns 1 if the gate fails."""
    from study.bench_file import read_bench

    old, new = read_bench(options.old, REMEDY), read_bench(options.new, REMEDY)
    changes = compare(old, new, options.allow)
    markdown = options.format == "markdown"
    files = [("old", options.old, old), ("new", options.new, new)]
    heads = [f"{which}: {described(path, record.environment)}" for which, path, record in files]
    print("\n\n".join(paragraphs(heads, changes, options.fail_above, markdown)), flush=True)
    if all(change.verdict == "withheld" for change in changes.cases):
        print("no verdict: every case is withheld, for the reasons above; measure again", file=sys.stderr)
    return int(any(change.slower_than(options.fail_above) for change in changes.cases))


def described(path: Path, environment: BenchEnvironment) -> str:
    """One line on a file: date, commit, machine and versions."""
    from study.environment import describe

    try:
        date = json.loads(path.read_bytes())["datetime"][:19]
    except (ValueError, KeyError, TypeError):  # the journal of an interrupted session
        date = "no date"
    description = describe(environment)
    return f"{path}, {date}, {description.commit}; {description.machine}, {description.versions}"


def paragraphs(heads: Sequence[str], changes: Changes, limit: float, markdown: bool) -> Iterator[str]:
    """The paragraphs of the output, in Markdown or plain text."""

    def lines(texts: Sequence[str]) -> str:
        return "\n".join(f"- {text}" if markdown else text for text in texts)

    strong = "**" if markdown else ""
    loud = [
        f"{strong}DIFFERENT CONDITIONS{strong}, {word} (old against new): {', '.join(texts)}"
        for word, texts in changes.differences.items()
        if word != "also"
    ]
    quiet = [f"also different: {', '.join(texts)}" for texts in [changes.differences.get("also")] if texts]
    yield lines([*heads, *loud, *quiet])
    yield table("case", changes.cases, _times, markdown)
    notes = withheld(changes.cases)
    for which, names in (("old", changes.only_old), ("new", changes.only_new)):
        notes += [f"only in the {which} file: {', '.join(names)}"] if names else []
    if notes:
        yield lines(notes)
    if changes.speed_ups:
        yield table("speed-up", changes.speed_ups, _speed_ups, markdown)
        yield lines([*withheld(changes.speed_ups), "Speed-ups do not decide the exit code."])
    yield lines(list(conclusion(changes, limit)))


def withheld(changes: Sequence[Change]) -> list[str]:
    """The verdicts that are withheld, each with its reasons."""
    return [f"withheld: {change.name}: {'; '.join(change.doubts)}" for change in changes if change.doubts]


def conclusion(changes: Changes, limit: float) -> Iterator[str]:
    """The last lines: failures, unknown noise, and the number of each verdict."""
    if failed := [change.name for change in changes.cases if change.slower_than(limit)]:
        yield f"shown to be slower by a ratio above {1 + limit:g}: {', '.join(failed)}"
    if changes.one_process:
        yield "The spread between processes is not known: measure with `--processes 3` to include it."
    counts = Counter(change.verdict for change in changes.cases)
    yield (
        f"{counts['slower']} slower, {counts['faster']} faster, {counts['no difference shown']} without a difference "
        f"shown, {counts['withheld']} withheld"
    )


def table(kind: str, changes: Sequence[Change], values: Callable[[Change], Sequence[str]], markdown: bool) -> str:
    """One row a change; a withheld verdict has no ratio."""
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
    """Both times in the unit and with the digits that suit the smaller one."""
    name, size = unit([change.old, change.new])
    digits = 1 if min(change.old, change.new) >= 100 * size else 2
    return f"{change.old / size:,.{digits}f} {name}", f"{change.new / size:,.{digits}f} {name}"


def _speed_ups(change: Change) -> tuple[str, str]:
    return f"{change.old:.2f}x", f"{change.new:.2f}x"
