"""A case: one model in one engine at a batch size, with a number of threads, in a mode, on a device."""

import math
import re
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import cycle
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from bench.models import Inputs, Model
from bench.runtimes import Runtime, Setting, find
from study.errors import StudyError, one_line
from study.parity import INT8_DIFFERENCE, INT8_MISMATCHES, compare
from study.records.base import Parity
from study.records.bench import CaseKey

Mode = Literal["native", "numpy"]
Device = Literal["cpu", "cuda"]
MODES: tuple[Mode, ...] = ("native", "numpy")
FOREIGN_DIFFERENCE = 1e-3
"""Largest accepted difference between two engines on a user's model, as a share of its largest output."""

OUT_OF_RANGE = re.compile(
    r"[^:\n]{0,200}(out of (data )?bounds|out of range|within bounds|invalid ind|sequence_lens)[^\n]{0,200}",
    re.IGNORECASE,
)
"""What engines say of an index that is not in its table."""


@dataclass(frozen=True)
class Case:
    """One measurement of the benchmark."""

    model: Model
    runtime: str
    batch: int
    threads: int = 1
    mode: Mode = "native"
    device: Device = "cpu"
    against: str | None = None
    """The runtime whose outputs the case is compared with before it is timed; None if there is no other."""

    def __str__(self) -> str:
        return f"{self.model.name}-{self.runtime}-batch{self.batch}-threads{self.threads}-{self.mode}-{self.device}"

    @property
    def key(self) -> CaseKey:
        """The case as its records name it."""
        return CaseKey(
            model=self.model.entry.name if self.model.entry else self.model.name,
            variant=self.model.variant,
            seed=self.model.seed,
            onnx_sha256=self.model.onnx_sha256,
            runtime=self.runtime,
            batch=self.batch,
            threads=self.threads,
            mode=self.mode,
            device=self.device,
        )


@dataclass(frozen=True)
class Engine:
    """A case with its model loaded; call it within `runtime.context()`."""

    case: Case
    runtime: Runtime
    pool: Sequence[Inputs]
    call: Callable[[Any], Any]
    """The callable that is timed."""
    inputs: Iterator[Any]
    """Endless iterator over the pool, in the types of the mode."""

    def once(self) -> Any:
        """One call, untimed."""
        return self.call(next(self.inputs))

    def outputs(self, seconds: float = math.inf) -> list[list[NDArray[Any]]]:
        """For each element of the pool, the outputs of the model in their order; no call begins after `seconds`."""
        outputs: list[list[NDArray[Any]]] = []
        until = time.perf_counter() + seconds
        try:
            for given in self.pool:
                if outputs and time.perf_counter() > until:
                    break
                result = self.call(given if self.case.mode == "numpy" else self.runtime.to_native(given))
                arrays = result if self.case.mode == "numpy" else self.runtime.to_numpy(result)
                outputs.append([np.array(array) for array in arrays])
        except StudyError:
            raise
        except Exception as error:  # engines raise exceptions of any type
            if self.case.model.run is None and (found := OUT_OF_RANGE.search(str(error))):
                remedy = "give values with --input NAME=LOW..HIGH or --feed FILE.npz"
                raise StudyError(f"{self.case}: an index is out of range ({found[0].strip()}): {remedy}") from None
            raise StudyError(f"{self.case} does not run: {one_line(error, 300)}") from None
        return outputs


@contextmanager
def opened(case: Case, pool: Sequence[Inputs]) -> Iterator[Engine]:
    """Load the model of a case into its engine; close it at the end of the block.

    Raises:
        StudyError: the model does not load, or the engine reports another number of threads than requested.
    """
    runtime = find(case.runtime)(case.model, Setting(case.threads, case.device))
    try:
        settings = runtime.settings()
        if settings.get("threads") != case.threads:
            raise StudyError(
                f"{case}: expected {case.threads} threads, {case.runtime} reports {settings.get('threads')}"
            )
        if case.mode == "native":
            yield Engine(case, runtime, pool, runtime.run, cycle([runtime.to_native(given) for given in pool]))
        else:

            def call(given: Inputs) -> list[NDArray[Any]]:
                return runtime.to_numpy(runtime.run(runtime.to_native(given)))

            yield Engine(case, runtime, pool, call, cycle(pool))
    finally:
        runtime.close()


def expected(case: Case, pool: Sequence[Inputs], seconds: float = math.inf) -> list[list[NDArray[Any]]] | None:
    """The outputs of `case.against` for the pool, on one thread; None if there is no such runtime.

    Call it before the case itself is opened: two engines with several threads each would slow each other down.
    """
    if case.against is None:
        return None
    with opened(Case(case.model, case.against, case.batch), pool) as other, other.runtime.context():
        return other.outputs(seconds)


def parity(engine: Engine, expected: list[list[NDArray[Any]]] | None, seconds: float = math.inf) -> Parity | None:
    """Compare the callable that will be timed, at its batch size, with another engine on the whole pool.

    No call begins after `seconds`; of a slow engine fewer outputs are compared, at least one.

    Raises:
        StudyError: the engine does not run, or the outputs differ. The limit for a model of the catalogue is that of
            its entry, and no class may differ; for 8-bit integers it is a few steps and one class in a hundred; for a
            model of the user it is a thousandth of its largest output.
    """
    case, outputs = engine.case, engine.outputs(seconds)
    if expected is None:
        return None
    pairs = [(_rows(one), _rows(other)) for one, other in zip(expected, outputs, strict=False)]
    if other_shape := next((pair for pair in pairs if pair[0].shape != pair[1].shape), None):
        shapes = " and ".join(str(rows.shape) for rows in other_shape)
        raise StudyError(
            f"{case}: expected outputs as {case.against}'s, found other shapes for the same input ({shapes})"
        )
    results = [compare(*pair) for pair in pairs]
    result = Parity(
        images=sum(one.images for one in results),
        max_abs_difference=max(one.max_abs_difference for one in results),
        argmax_mismatches=sum(one.argmax_mismatches for one in results),
        against=case.against,
    )
    largest = max(float(np.abs(rows).max(initial=0)) for rows, _ in pairs)
    limit = case.model.entry.largest_difference if case.model.entry else FOREIGN_DIFFERENCE * largest
    mismatches = 0.0 if case.model.run else 1.0
    if case.model.run and case.model.run.variant.int8:
        limit, mismatches = INT8_DIFFERENCE, INT8_MISMATCHES
    finite = math.isfinite(result.max_abs_difference)  # a NaN in the outputs makes the limit NaN too
    if not (finite and result.holds(limit, mismatches)):
        raise StudyError(
            f"{case}: outputs differ from {case.against}'s by {result.max_abs_difference:.1e} and in "
            f"{result.argmax_mismatches} classes of {result.images} images; expected at most {limit:.0e}"
        )
    return result


def _rows(outputs: Sequence[NDArray[Any]]) -> NDArray[np.float32]:
    """The outputs of one call side by side, float32 [items, values]; one row unless all outputs have a row an item."""
    items = len(outputs[0]) if outputs[0].ndim else 1
    if not all(output.ndim and len(output) == items for output in outputs):
        items = 1
    return np.concatenate(
        [output.astype(np.float32).reshape(items, output.size // max(1, items)) for output in outputs], 1
    )


def find_cases(
    models: Sequence[Model],
    runtimes: Sequence[str],
    batches: Sequence[int],
    threads: Sequence[int],
    mode: Mode = "native",
    device: Device = "cpu",
) -> list[Case]:
    """All valid combinations.

    Raises:
        StudyError: a runtime does not support the device, or none can run the model.
    """
    classes = {name: find(name) for name in runtimes}
    for name, runtime in classes.items():
        if device not in runtime.devices:
            raise StudyError(
                f"--device {device}: {name} runs on {' and '.join(runtime.devices)}; leave it out of --runtimes"
            )
    cases = []
    for model in models:
        able = [name for name in runtimes if model.trained or not classes[name].needs_checkpoint]
        if not able:
            raise StudyError(
                f"{model.onnx}: none of {', '.join(runtimes)} runs an ONNX file; try --runtimes onnxruntime"
            )
        cases += [
            Case(model, runtime, batch, count, mode, device, _against(model, runtime, able))
            for count in threads
            for batch in model.batch_sizes(batches)
            for runtime in able
        ]
    return cases


def _against(model: Model, runtime: str, able: Sequence[str]) -> str | None:
    if model.trained:
        return "onnxruntime" if runtime == "torch" else "torch"
    if model.run:  # ONNX Runtime measured its test error
        return None if runtime == "onnxruntime" else "onnxruntime"
    return next((name for name in able if name != runtime), None)


def find_pairs(cases: Sequence[Case]) -> list[tuple[Case, Case]]:
    """Pairs of cases that differ only in the runtime: torch (or else the first) with each of the others."""
    groups: dict[tuple[Any, ...], list[Case]] = {}
    for case in cases:
        key = (case.model.name, case.model.onnx, case.batch, case.threads, case.mode, case.device)
        groups.setdefault(key, []).append(case)
    pairs = []
    for group in groups.values():
        reference = next((case for case in group if case.runtime == "torch"), group[0])
        pairs += [(reference, case) for case in group if case is not reference]
    return pairs
