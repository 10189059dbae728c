"""The table of fixed costs and costs per item: a row a model and runtime that was measured at several batch sizes."""

from collections.abc import Sequence
from typing import Any

import pandas as pd
from msgspec.structs import asdict

from analysis.inputs.benchmarks import Measurements
from analysis.tables.columns import (
    DEVICE,
    MODE,
    MODEL,
    RUNTIME,
    SEED,
    THREADS,
    VALID,
    Column,
    frame,
    over_processes,
)
from analysis.tables.latency import WHENCE
from analysis.tables.numbers import MISSING, TIMES, missing, number
from study.costs import Costs, costs, reference, setting
from study.records.bench import CaseKey
from study.student import Estimate

MICROSECONDS = 1e6


def _interval(key: str, meaning: str, heading: str, form: str, scale: float = 1, unit: str = "") -> tuple[Column, ...]:
    name = key.removesuffix("_seconds")
    end = "_seconds" if name != key else ""
    return over_processes((f"{name}_low{end}", f"{name}_high{end}"), key, meaning, heading, form, scale, unit)


def _off(row: Any) -> str:
    """Such as "+12 % at 8"."""
    return MISSING if missing(row.miss) else f"{number(row.miss, '+.0f', 100)} % at batch {row.miss_batch:.0f}"


COSTS = (
    MODEL,
    SEED,
    RUNTIME,
    Column("batches", "batch sizes measured", "batches"),
    THREADS,
    MODE,
    DEVICE,
    Column("processes", "that count at all of these batch sizes", "processes"),
    *_interval("fixed_seconds", "of a call, in the line fixed + per item * batch", "fixed, µs", ",.1f", MICROSECONDS),
    *_interval("per_item_seconds", "of each item of the batch", "per item, µs", ",.2f", MICROSECONDS),
    Column("miss", "largest (median - line) / median; only above 5 % and beyond noise", "off the line", cell=_off),
    Column("miss_batch", "batch size of it", whole=True),
    Column("reference", "its costs are divided by these: torch, or the first runtime without it"),
    *_interval("fixed_ratio", "empty where a cost may be 0 or less", "fixed, ratio", ".2f", unit=TIMES),
    *_interval(
        "per_item_ratio", "likewise; the ratio of the times of large batches", "per item, ratio", ".2f", unit=TIMES
    ),
    VALID,
    *WHENCE,
)


def costs_table(measured: Measurements) -> pd.DataFrame:
    """One row a model and runtime with two batch sizes or more in one session; times in seconds."""
    origins = {id(case.record): case for case in measured.cases}
    sessions = dict.fromkeys(case.file for case in measured.cases)
    rows = []
    for file in sessions:
        several = costs([case.record for case in measured.cases if case.file == file])
        alike: dict[CaseKey, list[Costs]] = {}
        for one in several:
            alike.setdefault(setting(one.key), []).append(one)
        for one in several:
            origin = origins[id(one.cases[0])]
            rows.append(
                {**asdict(one.key), "model": origin.model, "measured_on": origin.machine, "file": file}
                | _cells(one)
                | _ratios(one, alike[setting(one.key)])
            )
    return frame(COSTS, rows)


def _cells(one: Costs) -> dict[str, object]:
    misses = one.misses
    return {
        "batches": ", ".join(map(str, one.batches)),
        "processes": len(one.processes),
        **_of("fixed", one.fixed, "_seconds"),
        **_of("per_item", one.per_item, "_seconds"),
        **({"miss_batch": next(iter(misses)), "miss": next(iter(misses.values()))} if misses else {}),
        "valid": one.valid,
    }


def _ratios(one: Costs, several: Sequence[Costs]) -> dict[str, object]:
    if not (other := reference(several, one)):
        return {}
    ratios = other.ratios(one)
    return {
        "reference": other.key.runtime,
        **_of("fixed_ratio", ratios.fixed),
        **_of("per_item_ratio", ratios.per_item),
    }


def _of(name: str, one: Estimate | None, end: str = "") -> dict[str, float]:
    if one is None:
        return {}
    return {f"{name}{end}": one.value, f"{name}_low{end}": one.low, f"{name}_high{end}": one.high}
