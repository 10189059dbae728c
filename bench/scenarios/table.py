"""The tables of the scenarios at the terminal."""

from collections.abc import Sequence

from bench.output.columns import Column, interval_column, key_columns, valid_column
from bench.output.units import decimals, number, unit
from study.records.base import Interval
from study.records.bench import BenchRecord
from study.records.scenarios import OfflineRecord, ServerRecord


def offline(record: BenchRecord, numbers: dict[int, str]) -> tuple[str, list[Column]] | None:
    """Title and columns of the throughputs; `numbers` are those of the reasons, by the id of a record."""
    loads = record.offline
    if not loads:
        return None
    columns = [
        *_keys(loads),
        Column("items a second", [number(load.items_per_second.value) for load in loads]),
        interval_column([load.items_per_second for load in loads]),
        valid_column(loads, numbers),
    ]
    return "offline: throughput of all streams together, with its 95 % interval", columns


def server(record: BenchRecord, numbers: dict[int, str]) -> tuple[str, list[Column]] | None:
    """The same of latencies under load."""
    loads = record.server
    if not loads:
        return None
    name, size = unit([interval.value for load in loads if (interval := load.p50_seconds)] or [1.0])

    def cells(intervals: Sequence[Interval | None]) -> list[str]:
        return [f"{one.value / size:,.{decimals(one.value / size)}f}" if one else "" for one in intervals]

    bounds = [load.bound_seconds for load in loads]
    searched = any(bound is not None for bound in bounds)
    columns = [
        *_keys(loads),
        Column("queries a second", [number(load.rate.value) for load in loads]),
        *([interval_column([load.rate for load in loads])] if searched else []),
        Column("load", [f"{load.load.value:.0%}" for load in loads], spare=True),
        Column("p50", cells([load.p50_seconds for load in loads])),
        Column("p90", cells([load.p90_seconds for load in loads]), spare=True),
        Column("p99", cells([load.p99_seconds for load in loads])),
        valid_column(loads, numbers),
    ]
    title = f"highest rate whose p99 stays under {bounds[0] / size:g} {name}" if bounds[0] else "queries at random"
    return f"server: {title}, and the latency from the scheduled arrival in {name}", columns


def _keys(loads: Sequence[OfflineRecord | ServerRecord]) -> list[Column]:
    crowded = ["*" if load.oversubscribed else "" for load in loads]
    streams = [f"{load.streams}{mark}" for load, mark in zip(loads, crowded, strict=True)]
    return [*key_columns([load.key for load in loads]), Column("streams", streams, same=True)]
