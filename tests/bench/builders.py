"""Valid records of one model, gap in ONNX Runtime at batch 1, whose numbers a test chooses."""

from pathlib import Path
from typing import Any

from msgspec.structs import replace

from study.artifacts import Artifacts
from study.records.base import Interval
from study.records.bench import (
    BenchRecord,
    CaseProcess,
    CaseRecord,
    ColdStartRecord,
    ComparisonProcess,
    ComparisonRecord,
)
from tests.support import records

NOWHERE = Artifacts(Path("no artifacts"))
SUBJECT = {"model": "gap", "runtime": "onnxruntime", "batch": 1}
ENVIRONMENT = replace(
    records.BENCH_ENVIRONMENT,
    cpu="A CPU",
    memory_bytes=24 * 2**30,
    python="3.11.7",
    packages={"torch": "2.13.0", "numpy": "2.4.6", "onnx": "1.23.2"},
    commit="c" * 40,
    cpu_flags=("avx2",),
    governor=None,
    turbo=None,
)


def around(value: float, half: float) -> Interval:
    """`value` with an interval of `half` of it to both sides."""
    return Interval(value=value, low=value * (1 - half), high=value * (1 + half))


def case(median: float = 100e-6, half: float = 0.001, **changes: Any) -> CaseRecord:
    """A case whose median is `median` seconds, the same in every load; `changes` are those of tests/support/records."""
    interval = around(median, half)
    own = {
        "median_seconds": interval,
        "processes": (CaseProcess(median_seconds=interval, valid=True),),
        "load_medians_seconds": (median,) * 5,
        "yardstick_seconds": 1e-3,
        "settings": {},
    }
    model, runtime, batch = (changes.pop(name, default) for name, default in SUBJECT.items())
    return records.case(NOWHERE, model, runtime, batch, median, **own | changes)


def paired(ratio: float = 7.0, half: float = 0.001, noise_floor: float = 0.001, **changes: Any) -> ComparisonRecord:
    """A comparison in one process, in which ONNX Runtime is `ratio` times as fast as torch."""
    interval = around(ratio, half)
    own = {
        "noise_floor": noise_floor,
        "processes": (ComparisonProcess(ratio=interval, noise_floor=noise_floor),),
        "between_spread": None,
    }
    model, batch = changes.pop("model", "gap"), changes.pop("batch", 1)
    return records.comparison(NOWHERE, model, batch, ratio, interval.low, interval.high, **own | changes)


def cold_start() -> ColdStartRecord:
    return records.cold_start(NOWHERE, "gap", "onnxruntime")


def bench(
    *cases: CaseRecord,
    comparisons: tuple[ComparisonRecord, ...] = (),
    cold_starts: tuple[ColdStartRecord, ...] = (),
    processes: int = 1,
    **environment: Any,
) -> BenchRecord:
    """A session with these records; the rest are changes to ENVIRONMENT."""
    return BenchRecord(
        environment=replace(ENVIRONMENT, **environment),
        harness_overhead_seconds=None,
        processes=processes,
        comparisons=comparisons,
        cold_starts=cold_starts,
        cases=cases,
    )
