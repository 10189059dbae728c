"""The table of the load scenarios: many queries at once (offline), and queries that arrive at random (server)."""

from typing import Any

import pandas as pd
from msgspec.structs import asdict

from analysis.inputs.benchmarks import Loads, Measurements
from analysis.inputs.kept import conditions
from analysis.tables.columns import (
    BATCH,
    DEVICE,
    MODEL,
    RUNTIME,
    SEED,
    THREADS,
    VALID,
    Column,
    frame,
    over_processes,
)
from analysis.tables.latency import PROCESSES, WHENCE
from study.records.base import Interval
from study.records.scenarios import OfflineRecord


def _interval(key: str, meaning: str, heading: str, form: str, scale: float = 1.0) -> tuple[Column, ...]:
    return over_processes((f"{key}_low", f"{key}_high"), key, meaning, heading, form, scale)


def _percentile(name: str) -> tuple[Column, ...]:
    meaning = "server: from the scheduled arrival of a query to the end of its call"
    return _interval(f"{name}_seconds", meaning, f"{name}, µs", ",.1f", 1e6)


LOADS = (
    MODEL,
    SEED,
    RUNTIME,
    BATCH,
    THREADS,
    DEVICE,
    Column("scenario", "offline or server, as in MLPerf", "scenario"),
    Column("streams", "processes that call at the same time, each with its own engine", "streams"),
    Column("oversubscribed", "whether streams * threads exceeds the physical cores"),
    *_interval(
        "items_per_second",
        "offline: throughput of all streams; server: queries a second * batch, the rate asked for or the highest one",
        "items/s (95 % interval)",
        ",.0f",
    ),
    Column("bound_seconds", "server: of p99, for the highest rate; empty for a rate asked for", "bound, ms", ",g", 1e3),
    *_percentile("p50"),
    *_percentile("p90"),
    *_percentile("p99"),
    *_interval("load", "server: share of their time in which the streams served", "load, %", ".0f", 100),
    *PROCESSES,
    Column("quick", "measured with --quick"),
    VALID,
    Column("reasons", "why it is not valid"),
    *WHENCE,
)


def loads(measured: Measurements) -> pd.DataFrame:
    """One row a model, engine and number of streams in a scenario, in seconds and items a second."""
    return frame(LOADS, map(_row, measured.loads))


def _row(one: Loads) -> dict[str, Any]:
    record = one.record
    row = {
        **asdict(record.key),
        **{name: getattr(record, name) for name in ("streams", "oversubscribed", "quick", "valid")},
        **conditions(record.processes),
        "model": one.model,
        "reasons": "; ".join(record.reasons),
        "measured_on": one.machine,
        "file": one.file,
    }
    if isinstance(record, OfflineRecord):
        return {**row, "scenario": "offline", **_ends("items_per_second", record.items_per_second)}
    row |= {"scenario": "server", "bound_seconds": record.bound_seconds}
    row |= _ends("items_per_second", record.rate, record.key.batch) | _ends("load", record.load)
    for name in ("p50_seconds", "p90_seconds", "p99_seconds"):
        row |= _ends(name, getattr(record, name))
    return row


def _ends(key: str, interval: Interval | None, scale: float = 1.0) -> dict[str, float]:
    if interval is None:
        return {}
    value, low, high = (scale * end for end in (interval.value, interval.low, interval.high))
    return {key: value, f"{key}_low": low, f"{key}_high": high}
