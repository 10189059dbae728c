"""The results of a session in the formats of two services that keep benchmarks: valid measurements only.

github-action-benchmark: a list of entries for its tool `customSmallerIsBetter`,
https://github.com/benchmark-action/github-action-benchmark#examples. Bencher: the Bencher Metric Format,
https://bencher.dev/docs/reference/bencher-metric-format. Neither keeps the processes, so neither can decide as
`python -m bench compare` does: their thresholds are for charts and alerts.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from bench.keys import case_name, model_name
from study.records.base import Interval
from study.records.bench import BenchRecord, CaseRecord, ColdStartRecord, ComparisonRecord, Range

Entry = dict[str, str | float]
"""An entry of github-action-benchmark: name, unit, value, and optionally range and extra."""
Metrics = dict[str, dict[str, dict[str, float]]]
"""Bencher's format: benchmark, measure, and its value, lower_value and upper_value."""


@dataclass(frozen=True)
class Point:
    """One number of a session with its range, in seconds, bytes or as a ratio."""

    benchmark: str
    measure: str
    """Its name, which is also a slug of Bencher: `latency` and `file-size` are its own."""
    unit: str
    value: float
    low: float
    high: float
    note: str
    """What the range is, and what it is made from."""


def points(record: BenchRecord) -> Iterator[Point]:
    """The valid measurements of a session."""
    sizes: dict[str, int] = {}
    for case in record.cases:
        sizes.setdefault(model_name(case.key), case.onnx_bytes)
        if case.valid and not case.quick:
            yield from _of_case(case)
    for pair in record.comparisons:
        if pair.valid and not pair.quick:
            yield _of_comparison(pair)
    for start in record.cold_starts:
        if start.valid and not start.quick:
            yield from _of_start(start)
    for name, size in sizes.items():
        yield Point(name, "file-size", "bytes", size, size, size, "exact")


def invalid(record: BenchRecord) -> list[str]:
    """The measurements that are left out, with the reasons."""
    found = [(case_name(it.key), it) for it in record.cases]
    found += [(case_name(it.key, it.reference), it) for it in record.comparisons]  # type: ignore[misc]
    found += [(f"cold start of {case_name(it.key)}", it) for it in record.cold_starts]  # type: ignore[misc]
    return [f"{name}: {'; '.join(it.reasons) or 'a quick run'}" for name, it in found if it.quick or not it.valid]


def _of_case(case: CaseRecord) -> Iterator[Point]:
    name = case_name(case.key)
    note = f"95 % interval over {sum(it.valid for it in case.processes)} processes, {case.samples} calls"
    yield _around(name, "latency", "s", case.median_seconds, f"median, {note}")
    if case.p99_seconds:
        yield _around(name, "latency-p99", "s", case.p99_seconds, f"99th percentile, {note}")


def _of_comparison(pair: ComparisonRecord) -> Point:
    """The runtime's time over the reference's: the inverse of the speed-up, because smaller is better here."""
    speed_up = pair.ratio
    inverse = Interval(value=1 / speed_up.value, low=1 / speed_up.high, high=1 / speed_up.low)
    note = f"time of {pair.key.runtime} / time of {pair.reference}, 95 % interval over {len(pair.processes)} processes"
    return _around(case_name(pair.key, pair.reference), "relative-time", "ratio", inverse, note)


def _of_start(start: ColdStartRecord) -> Iterator[Point]:
    quantities: list[tuple[str, str, Range]] = [
        ("cold-start", "s", start.total_seconds),
        ("peak-memory", "bytes", start.peak_bytes),
    ]
    for measure, unit, found in quantities:
        note = f"median, lowest and highest of {start.processes} processes"
        yield Point(case_name(start.key), measure, unit, found.median, found.lowest, found.highest, note)


def _around(benchmark: str, measure: str, unit: str, found: Interval, note: str) -> Point:
    return Point(benchmark, measure, unit, found.value, found.low, found.high, note)


def github_action_benchmark(record: BenchRecord) -> list[Entry]:
    """The entries of `customSmallerIsBetter`; times in microseconds, sizes in KiB."""
    units = {"s": ("us", 1e6), "bytes": ("KiB", 2.0**-10), "ratio": ("ratio", 1.0)}
    entries: list[Entry] = []
    for point in points(record):
        unit, factor = units[point.unit]
        entry: Entry = {"name": f"{point.benchmark} {point.measure}", "unit": unit, "value": point.value * factor}
        if point.low < point.high:
            entry["range"] = f"{point.low * factor:.6g} to {point.high * factor:.6g}"
        entries.append(entry | {"extra": point.note})
    return entries


def bencher(record: BenchRecord) -> Metrics:
    """Bencher's metrics; `latency` and the other times in nanoseconds, the unit of its built-in measure."""
    metrics: Metrics = {}
    for point in points(record):
        factor = 1e9 if point.unit == "s" else 1.0
        metrics.setdefault(point.benchmark, {})[point.measure] = {
            "value": point.value * factor,
            "lower_value": point.low * factor,
            "upper_value": point.high * factor,
        }
    return metrics
