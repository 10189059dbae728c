"""Valid records of the bench, whose numbers a test chooses."""

from typing import Any

from msgspec.structs import replace

from study.records.base import Interval
from study.records.bench import (
    BenchEnvironment,
    BenchRecord,
    CaseKey,
    CaseProcess,
    CaseRecord,
    ColdStartRecord,
    ComparisonProcess,
    ComparisonRecord,
    Controls,
    Machine,
    PairSettings,
    Range,
    WarmUpRecord,
)

MACHINE = Machine(
    other_cores=None,
    steal_share=None,
    involuntary_switches_per_second=None,
    load_before=None,
    load_after=None,
    clock_disagreement=None,
)
ENVIRONMENT = BenchEnvironment(
    cpu="A CPU",
    cores=2,
    memory_bytes=24 * 2**30,
    system="Linux",
    python="3.11.7",
    packages={"torch": "2.13.0", "numpy": "2.4.6", "onnx": "1.23.2"},
    commit="c" * 40,
    dirty=False,
    cpu_flags=("avx2",),
    affinity=(0, 1),
    quota_cores=None,
    governor=None,
    turbo=None,
    thread_variables={},
    load_before=None,
    load_after=None,
    files_sha256={},
    gpu=None,
)
KEY = CaseKey(
    model="gap",
    variant="standard",
    seed=0,
    onnx_sha256="a" * 64,
    runtime="onnxruntime",
    batch=1,
    threads=1,
    mode="native",
    device="cpu",
)
Changes = dict[str, Any]  # fields of a record or of its key


def around(value: float, half: float) -> Interval:
    """`value` with an interval of `half` of it to both sides."""
    return Interval(value=value, low=value * (1 - half), high=value * (1 + half))


def _changed(record: Any, changes: Changes) -> Any:
    key = {name: value for name, value in changes.items() if name in CaseKey.__struct_fields__}
    others = {name: value for name, value in changes.items() if name not in key}
    return replace(record, key=replace(record.key, **key), **others)


def case(median: float = 100e-6, half: float = 0.001, **changes: Any) -> CaseRecord:
    """A valid case whose median is `median` seconds."""
    interval = around(median, half)
    record = CaseRecord(
        key=KEY,
        onnx_bytes=1,
        parameters=1,
        macs=None,
        subnormal_weights=0,
        inputs_sha256="b" * 64,
        input_seed=None,
        input_shapes={},
        samples=1000,
        median_seconds=interval,
        p90_seconds=None,
        p95_seconds=None,
        p99_seconds=None,
        p999_seconds=None,
        images_per_second=1 / median,
        parity=None,
        threads_read_back=1,
        settings={},
        cores_used=1,
        drift=0,
        spread=0.01,
        machine=MACHINE,
        yardstick_seconds=1e-3,
        warmup=WarmUpRecord(calls=10, seconds=1, stable=True),
        load_medians_seconds=(median,) * 5,
        processes=(CaseProcess(median_seconds=interval, valid=True),),
        between_spread=None,
        quick=False,
        valid=True,
        reasons=(),
    )
    changed: CaseRecord = _changed(record, changes)
    return changed


def paired(ratio: float = 7.0, half: float = 0.001, noise_floor: float = 0.001, **changes: Any) -> ComparisonRecord:
    """A valid comparison in one process, in which ONNX Runtime is `ratio` times as fast as torch."""
    interval = around(ratio, half)
    record = ComparisonRecord(
        key=KEY,
        reference="torch",
        ratio=interval,
        rounds=9,
        blocks=9,
        calls=9,
        controls=Controls(reference=around(1, 0.001), runtime=around(1, 0.001)),
        noise_floor=noise_floor,
        random_seed=0,
        settings=PairSettings(reference={}, runtime={}),
        processes=(ComparisonProcess(ratio=interval, noise_floor=noise_floor),),
        between_spread=None,
        verdict="faster",
        cores_used=1,
        machine=MACHINE,
        quick=False,
        valid=True,
        reasons=(),
    )
    changed: ComparisonRecord = _changed(record, changes)
    return changed


def cold_start() -> ColdStartRecord:
    """A valid cold start: every quantity is 1, from 0.5 to 2."""
    one = Range(median=1, lowest=0.5, highest=2)
    quantities = [name for name in ColdStartRecord.__struct_fields__ if name.endswith(("_seconds", "_bytes"))]
    return ColdStartRecord(
        key=KEY, processes=5, machine=MACHINE, quick=False, valid=True, reasons=(), **dict.fromkeys(quantities, one)
    )


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
