"""The two measurements: one case, and two cases paired."""

import gc
import statistics
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import replace
from typing import Any

import numpy as np

from bench.cases import Case, Engine, expected, opened, parity
from bench.interference import watch, yardstick
from bench.models import Inputs
from bench.pairing import FEWEST_ROUNDS, Timed, Turn, calls_in_part, compare
from bench.records import case_record, comparison_record
from bench.sampling import Effort, WarmUp, garbage_collector_held, warm_up

TimeCalls = Callable[[Iterator[tuple[Callable[[Any], Any], Any]], int], list[float]]
"""Makes so many calls, each the next pair of what to call and what to give it, and gives the seconds of each."""
QUICK_ROUNDS = 3
BALLASTS, BALLAST_BYTES = 32, 100_000


def latency(case: Case, effort: Effort, overhead_seconds: float | None, time_calls: TimeCalls) -> dict[str, Any]:
    """The record of one case.

    The model is loaded several times and each time makes its share of the calls, because how fast an engine is depends
    on where in memory it has come to lie.

    Raises:
        StudyError: the engine does not load, has other threads than asked for, or computes something else.
    """
    pool = case.model.pool(case.batch)
    wanted = expected(case, pool)
    with garbage_collector_held():
        with opened(case, pool) as engine, engine.runtime.context():
            compared = parity(engine, wanted)
            warm_ups = [warm_up(engine.once)]
        calls = effort.samples(warm_ups[0].call_seconds)
        settings: list[dict[str, Any]] = []
        before = yardstick()
        with watch() as watched, closing(_over_loads(case, pool, effort.loads, calls, warm_ups, settings)) as given:
            samples = time_calls(given, calls)
        pace = statistics.mean((before, yardstick()))
    return case_record(
        case, pool, samples, effort, warm_ups, settings, compared, watched.observed, pace, overhead_seconds
    )


def _over_loads(
    case: Case,
    pool: Sequence[Inputs],
    loads: int,
    calls: int,
    warm_ups: list[WarmUp],
    settings: list[dict[str, Any]],
) -> Generator[tuple[Callable[[Any], Any], Any], None, None]:
    """What to call and what to give it, `calls` times; each load is warmed up first, and read back afterwards."""
    generator = np.random.default_rng()
    for share in np.array_split(np.arange(calls), loads):  # as case_record splits the samples
        with elsewhere(generator), opened(case, pool) as engine, engine.runtime.context():
            warm_ups.append(warm_up(engine.once))
            try:
                for _ in share:
                    yield engine.call, next(engine.inputs)
            finally:  # the last load is left at its last call
                settings.append(engine.runtime.settings())


def comparison(
    reference: Case, runtime: Case, effort: Effort, seed: int, overhead_seconds: float | None = None
) -> dict[str, Any]:
    """The record of one paired comparison, once the runtime is found to compute what the reference computes.

    With one thread all engines of a round are loaded at once. With more, an engine is loaded for each of its parts
    alone, because the idle threads of one would be in the way of the other.

    Raises:
        StudyError: as `latency`.
    """
    pool = runtime.model.pool(runtime.batch)
    cases = (reference, reference, runtime, runtime)
    rounds = QUICK_ROUNDS if effort.quick else FEWEST_ROUNDS
    with garbage_collector_held():
        warm_ups, settings = [], {}
        wanted = None
        for role, case in (("reference", reference), ("runtime", replace(runtime, against=reference.runtime))):
            with opened(case, pool) as engine, engine.runtime.context():
                if wanted is None:
                    wanted = engine.outputs()
                else:
                    parity(engine, wanted)
                warm_ups.append(warm_up(engine.once))
                settings[role] = engine.runtime.settings()
        speeds = (warm_ups[0].call_seconds, warm_ups[1].call_seconds)

        @contextmanager
        def load(generator: np.random.Generator) -> Iterator[list[Turn]]:
            if runtime.threads > 1:
                yield [_comes_back(case, pool, speeds[i // 2], generator) for i, case in enumerate(cases)]
                return
            with ExitStack() as stack:
                turns = {}
                gc.collect()  # what earlier rounds left, where an engine leaves anything
                for i in map(int, generator.permutation(len(cases))):
                    stack.enter_context(elsewhere(generator))
                    engine = stack.enter_context(opened(cases[i], pool))
                    warm_again(engine, speeds[i // 2])
                    turns[i] = _stays(engine)
                yield [turns[i] for i in range(len(cases))]

        with watch() as watched:
            found = compare(load, speeds, effort.comparison_seconds, seed, rounds)
    return comparison_record(
        reference, runtime, found, effort, warm_ups, settings, watched.observed, seed, overhead_seconds
    )


@contextmanager
def elsewhere(generator: np.random.Generator) -> Iterator[None]:
    """Hold memory in blocks of random sizes, so that what is loaded meanwhile lies elsewhere than the last time.

    Otherwise it is given the place that was freed just now, and is as fast or slow there each time (Curtsinger &
    Berger, Stabilizer: Statistically Sound Performance Evaluation, ASPLOS 2013).
    """
    held = [bytearray(int(size)) for size in generator.integers(1, BALLAST_BYTES, BALLASTS)]
    yield
    del held


def warm_again(engine: Engine, call_seconds: float) -> None:
    """Some calls for an engine that is not the first of its kind in this process: as many as a part has."""
    with engine.runtime.context():
        for _ in range(calls_in_part(call_seconds)):
            engine.once()


def _stays(engine: Engine) -> Turn:
    @contextmanager
    def turn() -> Iterator[Timed]:
        with engine.runtime.context():
            yield engine.call, engine.inputs

    return turn


def _comes_back(case: Case, pool: Sequence[Inputs], call_seconds: float, generator: np.random.Generator) -> Turn:
    @contextmanager
    def turn() -> Iterator[Timed]:
        with elsewhere(generator), opened(case, pool) as engine:
            warm_again(engine, call_seconds)
            with engine.runtime.context():
                yield engine.call, engine.inputs

    return turn
