"""Valid records of one model, gap in ONNX Runtime at batch 1, whose numbers a test chooses."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from msgspec.structs import replace
from scipy.stats import t

from bench.cases import Case
from bench.models import from_file
from study.artifacts import Artifacts
from study.onnx_given import Given
from study.records.base import Interval
from study.records.bench import BenchRecord, CaseRecord, ColdStartRecord, ComparisonRecord
from study.student import mean_interval
from tests.support import records
from tests.support.study import write_model

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
    """`value` with an interval from `value` / (1 + `half`) to `value` * (1 + `half`)."""
    return Interval(value=value, low=value / (1 + half), high=value * (1 + half))


def apart(value: float, half: float, processes: int = 5) -> tuple[float, ...]:
    """Values of so many processes, from which `study.student.mean_interval` makes `around(value, half)`.

    Their logarithms are equally spaced.
    """
    steps = np.arange(processes) - (processes - 1) / 2
    if processes == 1:
        return (value,)
    unit = t.ppf(0.975, processes - 1) * np.std(steps, ddof=1) / np.sqrt(processes)
    return tuple((value * np.exp(np.log1p(half) / unit * steps)).tolist())


def case(median: float = 100e-6, half: float = 0.001, **changes: Any) -> CaseRecord:
    """A case whose median is `median` seconds, +-`half`, over five processes; or what `medians`, one each, make.

    The other `changes` are those of tests/support/records.
    """
    given = changes.pop("medians", None)
    medians = given or apart(median, half)
    whole = mean_interval(medians) if given else around(median, half)
    own = {
        "median_seconds": whole,
        "processes": tuple(records.case_process(n, seconds) for n, seconds in enumerate(medians, 1)),
        "settings": {},
    }
    model, runtime, batch = (changes.pop(name, default) for name, default in SUBJECT.items())
    return records.case(NOWHERE, model, runtime, batch, whole.value, **own | changes)


def paired(ratio: float = 7.0, half: float = 0.001, **changes: Any) -> ComparisonRecord:
    """ONNX Runtime `ratio` times as fast as torch, +-`half`, over five processes; or what `ratios`, one each, make."""
    given = changes.pop("ratios", None)
    ratios = given or apart(ratio, half)
    whole = mean_interval(ratios) if given else around(ratio, half)
    own = {"processes": tuple(records.comparison_process(n, one) for n, one in enumerate(ratios, 1))}
    model, batch = changes.pop("model", "gap"), changes.pop("batch", 1)
    return records.comparison(NOWHERE, model, batch, whole.value, whole.low, whole.high, **own | changes)


def of_weights(folder: Path, weights: Sequence[Sequence[float]]) -> Case:
    """A user's model in ONNX Runtime: y = W x for an image of four numbers."""
    write_model(folder / "model.onnx", {"fc": np.array(weights, np.float32)})
    return Case(from_file(folder / "model.onnx", Given({"image": (1, 4)})), "onnxruntime", 1)


def cold_start() -> ColdStartRecord:
    return records.cold_start(NOWHERE, "gap", "onnxruntime")


def bench(
    *cases: CaseRecord,
    comparisons: tuple[ComparisonRecord, ...] = (),
    cold_starts: tuple[ColdStartRecord, ...] = (),
    processes: int = 5,
    **environment: Any,
) -> BenchRecord:
    """A session with these records; the rest are changes to ENVIRONMENT."""
    return BenchRecord(
        environment=replace(ENVIRONMENT, **environment),
        harness_overhead_seconds=None,
        processes=processes,
        pilot=None,
        comparisons=comparisons,
        cold_starts=cold_starts,
        cases=cases,
    )
