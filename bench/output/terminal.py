"""The output of `pytest bench`: a line for each measurement, and tables of the results.

Pure functions of the records; the tables fit into the given number of columns.
"""

import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import replace

from bench.keys import load_name, short_name
from bench.output.columns import Column, interval_column, key_columns, valid_column
from bench.output.costs import fixed_and_per_item, rates
from bench.output.profiles import left, profiles
from bench.output.units import decimals, number, unit
from bench.scenarios.table import offline, server
from study.families import family, is_default, outrun
from study.reasons import merged
from study.records.base import Interval
from study.records.bench import BenchRecord, ComparisonRecord, Measurement

MEGABYTE = 1_000_000
USUAL = ("native", "cpu")
"""Mode and device that are not named where all have them."""
NAMES = (("model", 12), ("runtime", 11), ("reference", 11), ("model", 8), ("reference", 8), ("runtime", 8))
"""The columns of names, which are shortened in this order where a table is too wide, to so many characters."""


def tables(record: BenchRecord, width: int) -> Iterator[str]:
    """The lines of the results: latencies, costs, comparisons and cold starts, and why some are not valid.

    Args:
        width: characters in a line.
    """
    measured: list[tuple[str, Measurement]] = [
        *((short_name(case.key), case) for case in record.cases),
        *((short_name(pair.key, pair.reference), pair) for pair in record.comparisons),
        *((f"cold start, {short_name(start.key)}", start) for start in record.cold_starts),
        *((f"profile, {short_name(one.key)}", one) for one in record.profiles),
        *((load_name(load.key, load.streams), load) for load in (*record.offline, *record.server)),
    ]
    reasons = list(merged([(name, reason) for name, each in measured for reason in each.reasons]))
    numbers = {
        id(each): ",".join(str(n) for n, (_, names) in enumerate(reasons, 1) if name in names)
        for name, each in measured
    }
    makers = (_latencies, fixed_and_per_item, rates, _comparisons, _cold_starts, offline, server)
    for shown in [make(record, numbers) for make in makers]:
        if shown is not None:
            yield from [*_table(*shown, width), ""]
    for title, columns in profiles(record.profiles, numbers):
        yield from [*_table(title, columns, width), ""]
    if more := left(record.profiles):
        yield more
    if line := at_its_best(record):
        yield from wrapped(line, width)
    for key, chosen, faster in outrun(record):
        line = f"{short_name(key)}: the pilot chose {chosen}, but {faster} is faster in the session: measure again"
        yield from wrapped(line, width)
    if reasons:
        yield "not valid:"
    for n, (reason, names) in enumerate(reasons, 1):
        more = f" and {len(names) - 3} more" if len(names) > 3 else ""
        yield from wrapped(f"{n:>3}  {reason} ({', '.join(names[:3])}{more})", width)
    for name, reason in record.left_out.items():
        yield from wrapped(f"left out: {name}: {reason}", width)
    for name, reason in record.failed.items():
        yield from wrapped(f"failed: {name}: {reason}", width)


def about(seconds: float) -> str:
    """A forecast: 40 s, 3 min."""
    return f"{max(5, round(seconds / 5) * 5)} s" if seconds < 90 else f"{round(seconds / 60)} min"


def shortened(text: str, most: int) -> str:
    """The text in at most this many characters, with dots in place of its middle."""
    if len(text) <= most:
        return text
    head = (most - 2) // 2
    return f"{text[:head]}..{text[len(text) - (most - 2 - head) :]}"


def _latencies(record: BenchRecord, numbers: dict[int, str]) -> tuple[str, list[Column]] | None:
    cases = record.cases
    if not cases:
        return None
    name, size = unit([case.median_seconds.value for case in cases])

    def cells(intervals: Sequence[Interval | None]) -> list[str]:
        return [
            f"{interval.value / size:,.{decimals(case.median_seconds.value / size)}f}" if interval else ""
            for case, interval in zip(cases, intervals, strict=True)
        ]

    columns = [
        *key_columns([case.key for case in cases]),
        Column("median", cells([case.median_seconds for case in cases])),
        interval_column([case.median_seconds for case in cases], size),
        Column("p90", cells([case.p90_seconds for case in cases]), spare=True),
        Column("p95", cells([case.p95_seconds for case in cases]), spare=True),
        Column("p99", cells([case.p99_seconds for case in cases])),
        Column("p99.9", cells([case.p999_seconds for case in cases])),
        valid_column(cases, numbers),
    ]
    return f"latency of one call in {name}, with the 95 % interval of the median", columns


def _comparisons(record: BenchRecord, numbers: dict[int, str]) -> tuple[str, list[Column]] | None:
    pairs = record.comparisons
    if not pairs:
        return None
    unpaired, settings = [pair.unpaired_ratio for pair in pairs], _settings(pairs)
    columns = [
        *key_columns([pair.key for pair in pairs]),
        Column("reference", [pair.reference for pair in pairs], left=True, same=True),
        Column("settings", settings, left=True),
        Column("speed-up", [number(pair.ratio.value) for pair in pairs]),
        interval_column([pair.ratio for pair in pairs]),
        Column("apart", [number(one.value) if one else "" for one in unpaired], spare=True),
        Column("verdict", [_verdict(pair, numbers[id(pair)]) for pair in pairs], left=True),
    ]
    title = "speed-up: time of the reference / time of the runtime, in turns; apart: the ratio of their medians"
    if any(settings):
        title += "; settings: eager torch against an engine as it is, or the best of each engine in the pilot"
    return title, columns


def _settings(pairs: Sequence[ComparisonRecord]) -> list[str]:
    """Whether each comparison is eager/default, best/best, both or neither; nothing where no best is compared."""
    if not any(pair.best_of for pair in pairs):
        return [""] * len(pairs)
    names = {(True, True): "both", (True, False): "eager", (False, True): "best", (False, False): ""}
    return [names[is_plain(pair), pair.best_of is not None] for pair in pairs]


def is_plain(pair: ComparisonRecord) -> bool:
    """Whether it compares eager torch with an engine in its default setting."""
    return pair.reference == "torch" and is_default(pair.key.runtime)


def at_its_best(record: BenchRecord) -> str:
    """What a comparison with eager torch alone does not say, and how to measure it; empty where it is measured."""
    torch = {case.key.runtime for case in record.cases if family(case.key.runtime) == "torch"}
    if torch != {"torch"} or not any(is_plain(pair) for pair in record.comparisons):
        return ""
    return "torch is eager PyTorch, not PyTorch at its best: `--runtimes best` measures best against best too"


def _verdict(pair: ComparisonRecord, reasons: str) -> str:
    word = f"the same within {pair.margin:.1%}" if pair.verdict == "the same" else pair.verdict
    return f"{word}: {reasons}" if reasons else word


def _cold_starts(record: BenchRecord, numbers: dict[int, str]) -> tuple[str, list[Column]] | None:
    starts = record.cold_starts
    if not starts:
        return None
    name, size = unit([start.total_seconds.median for start in starts])
    ranges = [(start.import_seconds, start.load_seconds, start.first_call_seconds) for start in starts]
    columns = [
        *key_columns([start.key for start in starts]),
        *(
            Column(heading, [f"{parts[i].median / size:,.1f}" for parts in ranges], spare=True)
            for i, heading in enumerate(("import", "load", "first call"))
        ),
        Column("total", [f"{start.total_seconds.median / size:,.1f}" for start in starts]),
        Column("memory, MB", [f"{start.peak_bytes.median / MEGABYTE:,.0f}" for start in starts]),
        valid_column(starts, numbers),
    ]
    processes = max(start.processes for start in starts)
    return (
        f"cold start in {name}, and growth of memory: medians of {processes} process{'es'[: 2 * (processes > 1)]}",
        columns,
    )


def _table(title: str, columns: Sequence[Column], width: int) -> Iterator[str]:
    """A title, the headings and a line for each row."""
    rows = len(columns[0].cells)
    same = [column for column in columns if column.same and len(set(column.cells)) == 1]
    above = [f"{column.heading} {column.cells[0]}" for column in same if column.cells[0] not in USUAL]
    yield from wrapped("; ".join(filter(None, [title, ", ".join(above)])), width)
    shown = [column for column in columns if column not in same and any(column.cells)]
    while _width(shown) > width and (spare := [column for column in shown if column.spare]):
        shown.remove(spare[-1])
    for heading, least in NAMES:
        there = [column.heading for column in shown]
        if (excess := _width(shown) - width) > 0 and heading in there:
            i = there.index(heading)
            shown[i] = replace(shown[i], cells=_distinct(shown[i].cells, max(least, shown[i].width - excess)))
    yield _line([column.heading for column in shown], shown)
    yield _line(["-" * column.width for column in shown], shown)
    for n in range(rows):
        yield _line([column.cells[n] for column in shown], shown)


def _distinct(names: Sequence[str], most: int) -> list[str]:
    """The names in this many characters, or in as many as keep different names apart."""
    while len(set(short := [shortened(name, most) for name in names])) < len(set(names)):
        most += 1
    return short


def _width(columns: Sequence[Column]) -> int:
    return sum(column.width + 2 for column in columns) - 2


def _line(cells: Sequence[str], columns: Sequence[Column]) -> str:
    padded = [
        f"{cell:{'<' if column.left else '>'}{column.width}}" for cell, column in zip(cells, columns, strict=True)
    ]
    return "  ".join(padded).rstrip()


def wrapped(text: str, width: int) -> list[str]:
    """The lines of a paragraph."""
    return textwrap.wrap(text, width, subsequent_indent=" " * 5, break_on_hyphens=False, break_long_words=False)
