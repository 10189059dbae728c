"""A case: one model in one engine at a batch size, with a number of threads, in a mode, on a device."""

import math
import re
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import cycle
from typing import Any, Literal

from bench.models import Inputs, Model
from bench.runtimes import Runtime, Setting, find
from study.errors import StudyError, in_one_line, one_line
from study.parity import Output, held
from study.records.bench import CaseKey

Mode = Literal["native", "numpy"]
Device = Literal["cpu", "cuda"]
MODES: tuple[Mode, ...] = ("native", "numpy")

OUT_OF_RANGE = re.compile(
    r"[^:\n]{0,200}(out of (data )?bounds|out of range|within bounds|invalid ind|sequence_lens|by zero)[^\n]{0,200}",
    re.IGNORECASE,
)
"""Engines' messages about an index outside of its table, and about integers divided by 0."""


def give_values(model: Model) -> str:
    """What to do where the inputs that are drawn do not suit a file or a module."""
    words = "NAME=TYPE[SHAPE]:LOW..HIGH" if model.module else "NAME=LOW..HIGH"
    return f"give other values with --input {words} or --feed FILE.npz"


@dataclass(frozen=True)
class Case:
    """One measurement of the benchmark."""

    model: Model
    runtime: str
    batch: int
    threads: int = 1
    mode: Mode = "native"
    device: Device = "cpu"
    against: tuple[str, ...] = ()
    """The case is compared, before it is timed, with the first of these runtimes that runs the model."""

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

    def outputs(self, seconds: float = math.inf, most: int | None = None) -> list[list[Output]]:
        """For each element of the pool, the outputs of the model in their order; no call begins after `seconds`.

        Args:
            most: number of calls; None: one for each element.

        Raises:
            StudyError: the engine does not run the model, or gives what numpy does not take.
        """
        outputs: list[list[Output]] = []
        types = self.case.model.facts.output_types
        until = time.perf_counter() + seconds
        for given in self.pool[:most]:
            if outputs and time.perf_counter() > until:
                break
            try:
                result = self.call(given if self.case.mode == "numpy" else self.runtime.to_native(given))
            except StudyError:
                raise
            except Exception as error:  # engines raise exceptions of any type
                if self.case.model.run is None and (found := OUT_OF_RANGE.search(str(error))):
                    kind = "an integer is divided by 0" if found[1] == "by zero" else "an index is out of range"
                    raise StudyError(
                        f"{self.case}: {kind} ({found[0].strip()}); {give_values(self.case.model)}"
                    ) from None
                raise StudyError(f"{self.case} does not run: {one_line(error, 300)}") from None
            with in_one_line(f"{self.case} runs, but its outputs cannot be read"):
                values = result if self.case.mode == "numpy" else self.runtime.to_numpy(result)
                if len(values) != len(types):
                    raise StudyError(f"{self.case}: expected {len(types)} outputs, found {len(values)}")
                outputs.append([held(value, kind) for value, kind in zip(values, types, strict=True)])
        return outputs


@contextmanager
def opened(case: Case, pool: Sequence[Inputs], kind: type[Runtime] | None = None) -> Iterator[Engine]:
    """Load the model of a case into its engine; close it at the end of the block.

    Args:
        kind: a class derived from that of the engine, in its place.

    Raises:
        StudyError: the model does not load, or the engine reports another number of threads than requested.
    """
    with in_one_line(f"{case} does not load"):
        setting = Setting(case.threads, case.device, batch=case.batch)
        runtime = (kind or find(case.runtime))(case.model, setting)
    try:
        settings = runtime.settings()
        if settings.get("threads") != case.threads:
            raise StudyError(
                f"{case}: expected {case.threads} threads, {case.runtime} reports {settings.get('threads')}"
            )
        if case.mode == "native":
            with in_one_line(f"{case} does not take its inputs"), runtime.context():
                native = [runtime.to_native(given) for given in pool]
            yield Engine(case, runtime, pool, runtime.run, cycle(native))
        else:

            def call(given: Inputs) -> list[Any]:
                return runtime.to_numpy(runtime.run(runtime.to_native(given)))

            yield Engine(case, runtime, pool, call, cycle(pool))
    finally:
        runtime.close()


def compile_ahead(case: Case, pool: Sequence[Inputs]) -> None:
    """Make the first call of an engine that compiles at it, so that no measurement holds that, and no time limit.

    Raises:
        StudyError: it does not load, compile or run the model.
    """
    for name in dict.fromkeys((case.runtime, *case.against[:1])):
        if getattr(find(name), "compiles", False):
            one = replace(case, runtime=name, threads=case.threads if name == case.runtime else 1)
            with opened(one, pool[:1]) as engine, engine.runtime.context():
                engine.outputs()


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
        able = [name for name in runtimes if model.in_torch or not classes[name].needs_checkpoint]
        if not able:
            raise StudyError(
                f"{model.onnx}: none of {', '.join(runtimes)} runs an ONNX file; try --runtimes onnxruntime"
            )
        refused = {name: reason for name in able if (reason := refusal(classes[name], model))}
        if not (able := [name for name in able if name not in refused]):
            raise StudyError(next(iter(refused.values())))
        cases += [
            Case(model, runtime, batch, count, mode, device, _against(model, runtime, able))
            for count in threads
            for batch in model.batch_sizes(batches)
            for runtime in able
        ]
    return cases


def refusal(runtime: type[Runtime], model: Model) -> str | None:
    """Why a runtime does not run this model although it runs others; a user's class may have no opinion."""
    ask = getattr(runtime, "refusal", None)
    return ask(model) if ask else None


def _against(model: Model, runtime: str, able: Sequence[str]) -> tuple[str, ...]:
    if model.in_torch:
        return ("onnxruntime",) if runtime == "torch" else ("torch",)
    if model.run:  # ONNX Runtime measured its test error
        return () if runtime == "onnxruntime" else ("onnxruntime",)
    return tuple(name for name in able if name != runtime)


def find_pairs(cases: Sequence[Case]) -> list[tuple[Case, Case]]:
    """Pairs of cases that differ only in the runtime: the reference with each of the others.

    Best against best (bench/best.py) adds at most one for each further family, once the pilot has chosen.
    """
    pairs = []
    for group in by_setting(cases):
        reference = reference_of(group)
        pairs += [(reference, case) for case in group if case is not reference]
    return pairs


def by_setting(cases: Sequence[Case]) -> list[list[Case]]:
    """The cases in groups that differ only in the runtime."""
    groups: dict[tuple[Any, ...], list[Case]] = {}
    for case in cases:
        groups.setdefault(setting(case), []).append(case)
    return list(groups.values())


def setting(case: Case) -> tuple[Any, ...]:
    """Everything but the runtime."""
    return case.model.name, case.model.onnx, case.batch, case.threads, case.mode, case.device


def reference_of(group: Sequence[Case]) -> Case:
    """The case that the others of its group are compared with: eager torch, or else the first."""
    return next((case for case in group if case.runtime == "torch"), group[0])
