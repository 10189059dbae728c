"""The text of `python -m bench compare`: a table, the reasons of what is withheld, and the conclusion."""

from collections import Counter
from collections.abc import Iterator, Sequence

from bench.output.paragraphs import lines, table
from bench.output.units import decimals, unit
from study.records.base import Interval
from study.records.gate import Change, GateRecord, SpeedUpChange

HEADINGS = ("old", "new", "ratio", "95 % interval")
BYTES = (("B", 1.0), ("KiB", 2.0**10), ("MiB", 2.0**20))
MOST_REASONS = 4
WORDS = {0: "PASSED", 1: "FAILED", 3: "UNDECIDED"}


def paragraphs(heads: Sequence[str], found: GateRecord, markdown: bool) -> Iterator[str]:
    """The paragraphs of the output, in Markdown or plain text; `heads` describe the files."""
    strong = "**" if markdown else ""
    loud = [
        f"{strong}DIFFERENT CONDITIONS{strong}, {word} (old against new): {', '.join(texts)}"
        for word, texts in found.differences.items()
        if word != "also"
    ]
    quiet = [f"also different: {', '.join(texts)}" for texts in [found.differences.get("also")] if texts]
    yield lines([*heads, *loud, *quiet], markdown)
    yield table(
        ("case", "metric", *HEADINGS, "limit", "verdict", "remark"),
        [_row(change) for change in found.changes],
        "llrrrrrll",
        markdown,
    )
    if notes := list(_notes(found)):
        yield lines(notes, markdown)
    if found.speed_ups:
        yield table(("speed-up", *HEADINGS, "verdict"), [_speed_up(it) for it in found.speed_ups], "lrrrrl", markdown)
        yield lines([*_withheld(found.speed_ups), "Speed-ups do not decide the exit code."], markdown)
    yield lines([*_mean(found), f"{strong}{WORDS[found.exit_code]}{strong}: {conclusion(found)}"], markdown)


def conclusion(found: GateRecord) -> str:
    """One sentence on the exit code, with the number of each verdict."""
    counts = Counter(change.verdict for change in found.changes)
    missing = [f"{len(found.missing)} missing"] if found.missing else []
    listed = ", ".join([f"{count} {verdict}" for verdict, count in sorted(counts.items())] + missing)
    if found.exit_code == 0:
        return f"every quantity is shown to be within its limit ({listed})"
    if found.exit_code == 1:
        slower = [f"{it.name} {it.metric}" for it in found.changes if it.verdict == "slower"]
        return f"shown to exceed the limit: {', '.join(slower)} ({listed})"
    return f"no quantity is shown to exceed its limit, but not all are shown to be within it ({listed}){_remedy(found)}"


def _remedy(found: GateRecord) -> str:
    if found.missing or any(it.verdict == "withheld" for it in found.changes):
        return "; measure again what is missing or withheld"
    return "; more processes narrow the intervals (`--processes 10`), `python -m bench ab` narrows them further"


def _mean(found: GateRecord) -> Iterator[str]:
    if found.geometric_mean:
        yield f"geometric mean of the medians' ratios: {_ratio(found.geometric_mean)} ({_limits(found.geometric_mean)})"


def _notes(found: GateRecord) -> Iterator[str]:
    yield from _withheld(found.changes)
    for which, names in (("only in the old file", found.missing), ("only in the new file", found.added)):
        if names:
            yield f"{which}: {', '.join(names)}"
    yield from found.notes


def _withheld(changes: Sequence[Change | SpeedUpChange]) -> list[str]:
    """What is withheld, each with its first reasons (JSON has all), the metrics of a case together."""
    metrics: dict[tuple[str, tuple[str, ...]], list[str]] = {}
    for it in changes:
        if it.reasons:
            metrics.setdefault((it.name, it.reasons), []).append(it.metric if isinstance(it, Change) else "speed-up")
    return [
        f"withheld: {name} ({', '.join(of_case)}): {'; '.join(reasons[:MOST_REASONS])}"
        + (f"; and {len(reasons) - MOST_REASONS} more" if len(reasons) > MOST_REASONS else "")
        for (name, reasons), of_case in metrics.items()
    ]


def _row(change: Change) -> list[str]:
    machine = [f"machine {max(change.machine, key=abs):+.1%}"] if _noteworthy(change.machine) else []
    return [
        change.name,
        change.metric,
        *_values(change),
        *([_ratio(change.ratio), _limits(change.ratio)] if change.ratio else ["-", "-"]),
        f"{change.limit * 100:.4g} %",
        change.verdict,
        ", ".join([*machine, *change.remarks]),
    ]


def _noteworthy(machine: Sequence[float]) -> bool:
    return any(abs(it) >= 0.005 for it in machine)


def _ratio(ratio: Interval) -> str:
    return f"{ratio.value:.3f}"


def _limits(ratio: Interval) -> str:
    return "exact" if ratio.low == ratio.high else f"{ratio.low:.3f} to {ratio.high:.3f}"


def _values(change: Change) -> tuple[str, str]:
    """Both values in the unit and with the digits that suit the smaller one."""
    smaller = min(change.old, change.new)
    if change.metric in ("memory", "size"):
        name, size = next(((n, s) for n, s in reversed(BYTES) if smaller >= s), BYTES[0])
        digits = 0 if size == 1 else decimals(max(smaller / size, 1e-3), 4)
    else:
        name, size = unit([max(it, 1e-9) for it in (change.old, change.new)])
        digits = 1 if smaller >= 99.995 * size else 2
    return f"{change.old / size:,.{digits}f} {name}", f"{change.new / size:,.{digits}f} {name}"


def _speed_up(change: SpeedUpChange) -> list[str]:
    values = [f"{value:.2f}x" if value else "-" for value in (change.old, change.new)]  # 0 of no valid process
    ratio = [_ratio(change.ratio), _limits(change.ratio)] if change.ratio else ["-", "-"]
    return [change.name, *values, *ratio, change.verdict]
