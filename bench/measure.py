"""The two measurements: the latency of one case, and a paired comparison of two."""

import gc
import statistics
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from typing import Any

import numpy as np

from bench.cases import Case, Engine, opened
from bench.crashes import survive
from bench.interference import monitor, time_calibration_loop
from bench.models import Inputs
from bench.pairing import FEWEST_ROUNDS, Timed, Turn, calls_in_part, compare
from bench.parity import Expected, expected, nan_reasons, parity
from bench.records import case_record, comparison_record
from bench.sampling import Budget, Schedule, WarmUp, garbage_collector_held, warm_up
from study.records.bench import CaseRecord, ComparisonRecord, PairSettings, Settings

TimeCalls = Callable[[Iterator[tuple[Callable[[Any], Any], Any]], int], list[float]]
"""Time a number of calls, each the next pair of callable and argument; returns the seconds of each."""
QUICK_ROUNDS = 3
BALLASTS, BALLAST_BYTES = 32, 100_000


def latency(case: Case, budget: Budget, overhead_seconds: float | None, time_calls: TimeCalls) -> CaseRecord:
    """The record of one case.

    The model is loaded several times and the calls are divided among the loads, because the speed of an engine depends
    on its place in memory.

    Raises:
        StudyError: the engine does not load, uses another number of threads, or its outputs are wrong.
    """
    survive(case, budget.check_seconds)
    until = time.perf_counter() + budget.most_seconds
    pool = case.model.pool(case.batch)
    wanted = expected(case, pool, budget.check_seconds)
    with garbage_collector_held():
        with opened(case, pool) as engine, engine.runtime.context():
            found = engine.outputs(budget.check_seconds)
            compared, reasons = parity(engine, found, wanted)
            reasons += nan_reasons(case, found)
            warm_ups = [warm_up(engine.once, most_seconds=budget.check_seconds, called=True)]
        schedule = budget.schedule(warm_ups[0].call_seconds, until - time.perf_counter())
        settings: list[Settings] = []
        before = time_calibration_loop()
        with monitor() as monitored, closing(_over_loads(case, pool, schedule, warm_ups, settings)) as given:
            samples = time_calls(given, schedule.calls)
        pace = statistics.mean((before, time_calibration_loop()))
    return case_record(
        case,
        pool,
        samples,
        budget,
        warm_ups,
        settings,
        compared,
        monitored.interference,
        pace,
        overhead_seconds,
        reasons,
    )


def _over_loads(
    case: Case,
    pool: Sequence[Inputs],
    schedule: Schedule,
    warm_ups: list[WarmUp],
    settings: list[Settings],
) -> Generator[tuple[Callable[[Any], Any], Any], None, None]:
    """Callable and argument of each timed call; each load is warmed up first, its settings read back last."""
    generator = np.random.default_rng()
    for share in np.array_split(np.arange(schedule.calls), schedule.loads):  # as case_record splits the samples
        with elsewhere(generator), opened(case, pool) as engine, engine.runtime.context():
            warm_ups.append(warm_up(engine.once, most_seconds=schedule.warm_up_seconds))
            try:
                for _ in share:
                    yield engine.call, next(engine.inputs)
            finally:  # the generator of the last load is closed after its last call
                settings.append(engine.runtime.settings())


def comparison(
    reference: Case, runtime: Case, budget: Budget, seed: int, overhead_seconds: float | None = None
) -> ComparisonRecord:
    """The record of one paired comparison; the outputs of the two engines are compared first.

    With one thread all engines of a round are loaded at once. With more, each part loads its engine alone, because the
    idle threads of one engine slow the other down. Slow engines make one call a part, in as many rounds as fit.

    Raises:
        StudyError: as `latency`.
    """
    for case in (reference, runtime):
        survive(case, budget.check_seconds)
    until = time.perf_counter() + budget.most_seconds
    pool = runtime.model.pool(runtime.batch)
    cases = (reference, reference, runtime, runtime)
    rounds = QUICK_ROUNDS if budget.quick else FEWEST_ROUNDS
    with garbage_collector_held():
        warm_ups, settings = [], {}
        wanted = None
        for role, case in (("reference", reference), ("runtime", runtime)):
            with opened(case, pool) as engine, engine.runtime.context():
                found = engine.outputs(budget.check_seconds)
                parity(engine, found, wanted)
                wanted = Expected(case.runtime, found)
                warm_ups.append(warm_up(engine.once, most_seconds=budget.check_seconds, called=True))
                settings[role] = engine.runtime.settings()
        speeds = (warm_ups[0].call_seconds, warm_ups[1].call_seconds)
        left = until - time.perf_counter()
        calls = [calls_in_part(speed) for speed in speeds]
        if rounds * round_seconds(speeds, calls) > left:
            calls = [1, 1]

        @contextmanager
        def load(generator: np.random.Generator) -> Iterator[list[Turn]]:
            if runtime.threads > 1:
                yield [_comes_back(case, pool, calls[i // 2], generator) for i, case in enumerate(cases)]
                return
            with ExitStack() as stack:
                turns = {}
                gc.collect()  # some engines leave cyclic garbage from earlier rounds
                for i in map(int, generator.permutation(len(cases))):
                    stack.enter_context(elsewhere(generator))
                    engine = stack.enter_context(opened(cases[i], pool))
                    warm_again(engine, calls[i // 2])
                    turns[i] = _stays(engine)
                yield [turns[i] for i in range(len(cases))]

        with monitor() as monitored:
            paired = compare(load, calls, budget.comparison_seconds, seed, rounds, left)
    return comparison_record(
        reference,
        runtime,
        paired,
        budget,
        warm_ups,
        PairSettings(**settings),
        monitored.interference,
        seed,
        overhead_seconds,
    )


@contextmanager
def elsewhere(generator: np.random.Generator) -> Iterator[None]:
    """Hold memory in blocks of random sizes, so that each load gets another place in memory.

    Otherwise a load reuses the memory that was just freed, and is as fast or slow there each time (Curtsinger &
    Berger, Stabilizer: Statistically Sound Performance Evaluation, ASPLOS 2013).
    """
    held = [bytearray(int(size)) for size in generator.integers(1, BALLAST_BYTES, BALLASTS)]
    yield
    del held


def round_seconds(call_seconds: Sequence[float], calls: Sequence[int] = (1, 1)) -> float:
    """Shortest time for a round of a comparison, with `calls` a part: each engine is loaded twice, warmed up, timed."""
    return 4 * sum(seconds * number for seconds, number in zip(call_seconds, calls, strict=True))


def warm_again(engine: Engine, calls: int) -> None:
    """Warm up an engine that this process has loaded before: as many calls as in a part."""
    with engine.runtime.context():
        for _ in range(calls):
            engine.once()


def _stays(engine: Engine) -> Turn:
    @contextmanager
    def turn() -> Iterator[Timed]:
        with engine.runtime.context():
            yield engine.call, engine.inputs

    return turn


def _comes_back(case: Case, pool: Sequence[Inputs], calls: int, generator: np.random.Generator) -> Turn:
    @contextmanager
    def turn() -> Iterator[Timed]:
        with elsewhere(generator), opened(case, pool) as engine:
            warm_again(engine, calls)
            with engine.runtime.context():
                yield engine.call, engine.inputs

    return turn
