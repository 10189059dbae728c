"""The tables of profiles: a row an operator, and a row for what each module takes in each engine."""

from collections.abc import Iterator, Sequence
from typing import Any

import pandas as pd

from analysis.inputs.benchmarks import Measured, Measurements
from analysis.tables.columns import BATCH, DEVICE, MODEL, RUNTIME, SEED, THREADS, VALID, Column, frame
from analysis.tables.latency import WHENCE
from analysis.tables.numbers import MISSING, TIMES, number, runtime
from study.profiles import side_by_side
from study.records.profile import ProfileRecord

OUTSIDE = "(outside of operators)"
"""What the rest of a call is called among the modules."""
CONDITIONS = (
    Column("unprofiled_seconds", "median of a call without the profiler"),
    Column("profiled_seconds", "median of a call with it"),
    Column("accounted", "(operators + time outside of them) / median without the profiler"),
)

PROFILE = (
    MODEL,
    SEED,
    RUNTIME,
    BATCH,
    THREADS,
    DEVICE,
    Column("position", "of the operator in the call, from 1"),
    Column("operator", "as the profiler names it"),
    Column("kind", "type of the operator"),
    Column("kernel", "what computes it, where the profiler names it"),
    Column("module", "path of the torch module; empty: not attributed, or the network itself"),
    Column("seconds", "of one call, without the cost of the profiler"),
    Column("share", "of the median without the profiler"),
    *CONDITIONS,
    VALID,
    Column("reasons", "why it is not valid"),
    *WHENCE,
)
MODULES = (
    MODEL,
    RUNTIME,
    BATCH,
    THREADS,
    DEVICE,
    Column("module", f"path of the torch module, (the network itself), (not attributed) or {OUTSIDE}"),
    Column("operators", "that belong to it in this engine", whole=True),
    Column("seconds", "of one call, without the cost of the profiler"),
    Column("share", "of the median without the profiler"),
    *CONDITIONS,
    VALID,
    *WHENCE,
)


def profile(measured: Measurements) -> pd.DataFrame:
    """One row an operator, in the order of the call."""
    rows = [
        {**_cells(one), "position": i, "operator": operator.name, "share": _share(one.record, operator.seconds)}
        | {name: getattr(operator, name) for name in ("kind", "kernel", "module", "seconds")}
        for one in measured.profiles
        for i, operator in enumerate(one.record.operators, 1)
    ]
    return frame(PROFILE, rows)


def profile_modules(measured: Measurements) -> pd.DataFrame:
    """One row a module and engine, the engines of a call one after the other, and one for the time outside."""
    return frame(MODULES, list(_module_rows(measured.profiles)))


def _module_rows(profiles: Sequence[Measured[ProfileRecord]]) -> Iterator[dict[str, Any]]:
    calls: dict[tuple[Any, ...], list[Measured[ProfileRecord]]] = {}
    for one in profiles:
        calls.setdefault((one.file, one.model, one.key.batch, one.key.threads, one.key.device), []).append(one)
    for several in calls.values():
        for row in side_by_side([one.record for one in several]):
            for one in several:
                operators = sum(operator.module == row.module for operator in one.record.operators)
                if (seconds := row.seconds.get(one.key.runtime)) is not None:
                    yield _cells(one) | {
                        "module": row.title,
                        "operators": operators,
                        "seconds": seconds,
                        "share": _share(one.record, seconds),
                    }
        for one in several:
            outside = one.record.outside_seconds
            yield _cells(one) | {"module": OUTSIDE, "seconds": outside, "share": _share(one.record, outside)}


def headline(modules: pd.DataFrame) -> pd.DataFrame:
    """The rows of one call of each model: the smallest batch, then the fewest threads, in the first file."""
    calls = modules[["model", "batch", "threads", "device", "file"]].drop_duplicates()
    first = calls.sort_values(["batch", "threads"], kind="stable").drop_duplicates("model")
    return modules.merge(first, on=list(first.columns), how="inner")


def shown(modules: pd.DataFrame) -> pd.DataFrame:
    """The headline rows side by side as people read them: a row a module, a column an engine, and their ratio."""
    rows = headline(modules)
    engines = list(dict.fromkeys(rows["runtime"]))
    table = []
    for (model, batch, module), own in rows.groupby(["model", "batch", "module"], sort=False):
        seconds = dict(zip(own["runtime"], own["seconds"], strict=True))
        cells = {"model": model, "batch": batch, "module": module}
        cells |= {f"{runtime(name)}, µs": _number(seconds.get(name), ",.1f", 1e6) for name in engines}
        if len(engines) > 1:
            first, second = (seconds.get(name) for name in engines[:2])
            ratio = first / second if first and second else None
            cells[f"{runtime(engines[0])} / {runtime(engines[1])}"] = _number(ratio, ".1f", 1, TIMES)
        table.append(cells)
    return pd.DataFrame(table)


def _number(value: float | None, form: str, scale: float, unit: str = "") -> str:
    return MISSING if value is None else number(value, form, scale, unit)


def _cells(one: Measured[ProfileRecord]) -> dict[str, Any]:
    record, key = one.record, one.key
    return {
        "model": one.model,
        **{name: getattr(key, name) for name in ("seed", "runtime", "batch", "threads", "device")},
        **{column.key: getattr(record, column.key) for column in CONDITIONS},
        "valid": record.valid,
        "reasons": "; ".join(record.reasons),
        "measured_on": one.machine,
        "file": one.file,
    }


def _share(record: ProfileRecord, seconds: float) -> float:
    return seconds / record.unprofiled_seconds
