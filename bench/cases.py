"""What is measured: a model in an engine at a batch size, on real test images."""

import statistics
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import cache
from itertools import cycle
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.percentiles import percentile
from bench.runtimes import RUNTIMES, Loaded
from bench.sampling import WarmUp
from study.artifacts import Artifacts, RunFiles, current_export
from study.catalogue import Entry
from study.errors import StudyError
from study.parity import LARGEST_DIFFERENCE, compare

POOL = 1024
"""So many test images are gone through in turn, the same ones in the same order in every engine."""


@dataclass(frozen=True)
class Case:
    """One line of the benchmark."""

    entry: Entry
    files: RunFiles
    runtime: str
    batch: int
    threads: int
    data: Path
    """Folder of the images."""

    def __str__(self) -> str:
        return f"{self.entry.name}-{self.runtime}-batch{self.batch}-threads{self.threads}"

    def load(self) -> Loaded:
        """The model in this case's engine, once the engine has confirmed its number of threads."""
        loaded = RUNTIMES[self.runtime](self.entry, self.files, self.threads)
        if loaded.threads != self.threads:
            raise StudyError(f"{self}: asked for {self.threads} threads, {self.runtime} says it has {loaded.threads}")
        return loaded

    def batches(self, loaded: Loaded) -> Iterator[Any]:
        """The pool's images in native batches, again and again."""
        pool = image_pool(self.data)
        starts = range(0, len(pool), self.batch)  # the last batch is filled up from the pool's beginning
        parts = [pool[np.arange(start, start + self.batch) % len(pool)] for start in starts]
        return cycle([loaded.to_native(np.ascontiguousarray(part)) for part in parts])


def find_cases(
    artifacts: Artifacts,
    entries: Sequence[Entry],
    runtimes: Sequence[str],
    batches: Sequence[int],
    threads: Sequence[int],
) -> list[Case]:
    """All combinations, each model by its first finished run: latency does not depend on the seed.

    Raises:
        StudyError: a model has no finished run, or its ONNX file is missing or stale.
    """
    cases = []
    for entry in entries:
        runs = artifacts.runs(entry.name)
        if not runs:
            raise StudyError(
                f"{entry.name} has no finished run in {artifacts.root}; run `python -m train {entry.name}`"
            )
        current_export(runs[0])
        cases += [
            Case(entry, runs[0], runtime, batch, count, artifacts.data)
            for count in threads
            for batch in batches
            for runtime in runtimes
        ]
    return cases


@cache
def image_pool(data: Path) -> NDArray[np.float32]:
    """The first test images, float32 [POOL, C, H, W] in 0..1."""
    from study.images import load

    images, _ = load(data, train=False)
    return images[:POOL].float().div_(255).numpy()


@cache
def probabilities(entry: Entry, files: RunFiles, runtime: str, data: Path) -> NDArray[np.float32]:
    """What `runtime` computes for the pool, [POOL, classes], on one thread."""
    loaded = RUNTIMES[runtime](entry, files, 1)
    with loaded.context:
        return loaded.to_numpy(loaded.call(loaded.to_native(image_pool(data)))).copy()


def parity(case: Case, loaded: Loaded) -> dict[str, Any]:
    """Compare the very callable that will be timed, at its batch size, with another engine on the whole pool.

    Raises:
        StudyError: it differs by more than 1e-5 or in a class: its latency would be that of something else.
    """
    other = "torch" if case.runtime != "torch" else "onnxruntime"
    expected = probabilities(case.entry, case.files, other, case.data)
    batches = case.batches(loaded)
    parts = [loaded.to_numpy(loaded.call(next(batches))) for _ in range(0, len(expected), case.batch)]
    result = compare(expected, np.concatenate(parts)[: len(expected)])
    if not result.holds:
        raise StudyError(
            f"{case}: probabilities differ from {other}'s by {result.max_abs_difference:.1e} and in "
            f"{result.argmax_mismatches} classes of {result.images} images; expected at most "
            f"{LARGEST_DIFFERENCE:.0e} and none"
        )
    return asdict(result)


def record(
    case: Case,
    samples: Sequence[float],
    warm_up: WarmUp,
    parity: dict[str, Any],
    loaded: Loaded,
    cores_used: float,
    quick: bool,
) -> dict[str, Any]:
    """The `extra_info` of a case; its keys are described in docs/formats.md."""
    export = current_export(case.files)
    times: dict[str, float | None] = {}
    for name, percent in (("median", 50), ("p90", 90), ("p95", 95), ("p99", 99)):
        found = percentile(samples, percent)
        times[f"{name}_seconds"] = found.value if found else None
        times[f"{name}_low_seconds"] = found.low if found else None
        times[f"{name}_high_seconds"] = found.high if found else None
    reasons = doubts(case, samples, warm_up, cores_used, quick)
    return {
        "model": case.entry.name,
        "seed": case.files.seed,
        "runtime": case.runtime,
        "batch": case.batch,
        "threads": case.threads,
        "mode": "native",
        "onnx_sha256": export["onnx_sha256"],
        "onnx_bytes": export["bytes"],
        "samples": len(samples),
        **times,
        "images_per_second": case.batch / statistics.median(samples),
        "parity": parity,
        "threads_read_back": loaded.threads,
        "cores_used": cores_used,
        "warmup": {"calls": warm_up.calls, "seconds": warm_up.seconds, "stable": warm_up.stable},
        "quick": quick,
        "valid": not reasons,
        "reasons": reasons,
    }


def doubts(case: Case, samples: Sequence[float], warm_up: WarmUp, cores_used: float, quick: bool) -> list[str]:
    """Why a case should not be believed, in words; none if it may."""
    reasons = []
    if quick:
        reasons.append(f"a quick run: {len(samples)} samples are for a smoke test")
    if not warm_up.stable:
        reasons.append(f"latency was still changing after {warm_up.seconds:.1f} s of warm-up: let the machine rest")
    if not 0.9 <= cores_used / case.threads <= 1.1:
        reasons.append(f"{cores_used:.2f} cores used by {case.threads} threads: stop what else runs on this machine")
    return reasons
