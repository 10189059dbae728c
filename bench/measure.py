"""The two measurements in one process: the latency of a case, and a paired comparison of two."""

import gc
import time
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from bench.among import beside, opened_among
from bench.calibration import median
from bench.cases import Case, Engine, compile_ahead, opened
from bench.full_speed import Patience, timed
from bench.keys import short_name
from bench.machine.interference import monitor
from bench.models import Inputs
from bench.pairing import FEWEST_ROUNDS, Effort, Timed, Turn, compare
from bench.parity import Expected, expected, nan_reasons, parity
from bench.parts import Parts, plan_parts, round_seconds
from bench.placement import elsewhere
from bench.sampling import Budget, TooSlowError, again_calls, garbage_collector_held, warm_up
from bench.within import case_process, comparison_process
from study.onnx_values import digest
from study.records.base import Parity
from study.records.bench import (
    AfterSwitch,
    Calibration,
    CaseProcess,
    ComparisonProcess,
    PairSettings,
    Settings,
)

if TYPE_CHECKING:
    from bench.statistics.pilot import Shares

SPEED_SECONDS = 0.05
"""Time of the calls that show a comparison how fast an engine is."""
LARGE_BYTES = 2**29
"""Size of an ONNX file with its weights above which the engines of a comparison are loaded one at a time."""


@dataclass(frozen=True)
class Process:
    """What a measurement is told of the process that makes it."""

    number: int
    budget: Budget
    seed: int
    most_checked: int | None = None
    """Number of calls whose outputs are compared before the timed calls; None: one for each input of the pool."""
    shares: Mapping[str, "Shares"] = field(default_factory=dict)
    """Loads and calls of each task, by name, from the pilot."""
    level: Calibration | None = None
    """Full speed of the machine, as far as the session has seen it."""
    fastest: Mapping[str, float] = field(default_factory=dict)
    """Smallest mean time of a call of each comparison so far, in seconds, by name."""
    lead_in: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    """Lead-in calls of the reference and of the runtime in each comparison, from the pilot, by name."""
    fewest_rounds: int = FEWEST_ROUNDS
    """Of a comparison."""
    postpone: bool = False
    """Whether a measurement may be postponed while the machine is slow."""

    def seed_of(self, name: str) -> int:
        """A seed for a measurement, another one in each process."""
        return zlib.crc32(name.encode(), self.seed)


@dataclass(frozen=True)
class CaseOnce:
    """A case in one process."""

    process: CaseProcess
    samples: Sequence[float]
    """Seconds of each call, load after load."""
    parity: Parity | None
    output_reasons: tuple[str, ...]
    """Why its outputs make it not valid."""
    settings: Settings
    threads_read_back: int
    inputs_sha256: str
    input_shapes: dict[str, tuple[int, ...]]
    loads: Sequence[int]
    """Number of calls of each load."""
    load_seconds: float
    """Mean time of a load with its warm-up."""
    seconds: float
    """Time of everything, checks included."""


@dataclass(frozen=True)
class PairOnce:
    """A comparison in one process."""

    process: ComparisonProcess
    after_switch: tuple[AfterSwitch, AfterSwitch]
    """Of the reference and of the runtime."""
    settings: PairSettings
    call_seconds: float
    """Geometric mean of the time of a call of both engines."""
    fastest_call_seconds: float
    """Time of a call of the faster engine."""
    log_ratios: Sequence[NDArray[np.float64]]
    """Of each round, [blocks]."""
    block_seconds: float
    load_seconds: float
    """Mean time in which a round loads both engines twice."""
    seconds: float
    """Time of everything, checks included."""


def latency(case: Case, process: Process, *, alone: bool = False) -> CaseOnce:
    """Measure one case, loaded among the engines that a comparison would load, or alone.

    The model is loaded several times and the calls are divided among the loads, because the speed of an engine depends
    on its place in memory.

    Raises:
        StudyError: the engine does not load, uses another number of threads, or its outputs are wrong.
        SlowMachineError: the machine is slow, and the process postpones measurements.
    """
    budget = process.budget
    started = time.perf_counter()
    pool = case.model.pool(case.batch)
    compile_ahead(case, pool)
    until = time.perf_counter() + budget.process_seconds
    wanted = expected(case, pool, budget.check_seconds, process.most_checked)
    generator = np.random.default_rng(process.seed_of(str(case)))
    shares = process.shares.get(short_name(case.key))
    others = [] if alone or loaded_alone(case) else beside(case, wanted)
    patience = Patience(process.level, budget.patience_seconds, postpone=process.postpone)
    loads: list[list[float]] = []
    speeds: list[Calibration] = []
    settings: list[Settings] = []
    counts = [0]  # of the calls of each load, known after the first warm-up
    with garbage_collector_held(), ExitStack() as measuring:
        while len(loads) < len(counts):
            with opened_among(case, others, pool, generator) as engine, engine.runtime.context():
                if not loads:
                    found = engine.outputs(budget.check_seconds, process.most_checked)
                    compared, reasons = parity(engine, found, wanted, explain=True)
                    reasons += nan_reasons(case, found)
                    del found, wanted
                    patience.calibration()
                    warmed = warm_up(engine.once, most_seconds=budget.check_seconds, called=True)
                    call_seconds = warmed.call_seconds
                    schedule = budget.schedule(call_seconds, until - time.perf_counter(), shares)
                    counts = [len(part) for part in np.array_split(np.arange(schedule.calls), schedule.loads)]
                    began = time.perf_counter() - patience.waited
                    monitored = measuring.enter_context(monitor())
                else:
                    warm_again(engine, call_seconds)
                part, around = timed(engine.call, engine.inputs, counts[len(loads)], call_seconds, patience)
                settings.append(engine.runtime.settings())
            del engine  # or its weights stay while the next one loads
            loads.append(part)
            speeds += around
        elapsed = time.perf_counter() - began - patience.waited
    sizes = [len(load) for load in loads]
    samples = [seconds for load in loads for seconds in load]
    return CaseOnce(
        process=case_process(
            process.number,
            samples,
            sizes,
            warmed,
            monitored.interference,
            median(speeds),
            case.threads,
            budget,
            patience.waited,
        ),
        samples=samples,
        parity=compared,
        output_reasons=tuple(reasons),
        settings=settings[-1],
        threads_read_back=next((s["threads"] for s in settings if s["threads"] != case.threads), case.threads),
        inputs_sha256=digest(pool),
        input_shapes={name: array.shape for name, array in pool[0].items()},
        loads=sizes,
        load_seconds=max(0.0, elapsed - sum(samples)) / len(loads),
        seconds=time.perf_counter() - started,
    )


def comparison(reference: Case, runtime: Case, process: Process) -> PairOnce:
    """Compare two cases that take turns; their outputs are compared first.

    With one thread all engines of a round are loaded at once. With more, each part loads its engine alone, because the
    idle threads of one engine slow the other down. So it does for a large model: four copies, each beside the weights
    that its engine has packed, would take eight times the memory of the weights. Slow engines make one call a part, in
    as many rounds as fit.

    Raises:
        StudyError: as `latency`.
        TooSlowError: not even one round fits into the time.
    """
    budget, cases = process.budget, (reference, reference, runtime, runtime)
    alone = loaded_alone(runtime)
    started = time.perf_counter()
    pool = runtime.model.pool(runtime.batch)
    for case in (reference, runtime):
        compile_ahead(replace(case, against=()), pool)
    until = time.perf_counter() + budget.process_seconds
    patience = Patience(process.level, 2 * budget.patience_seconds, postpone=process.postpone)
    with garbage_collector_held():
        settings: dict[str, Settings] = {}
        speeds: list[float] = []
        wanted = None
        for role, case in (("reference", reference), ("runtime", runtime)):
            with opened(case, pool) as engine, engine.runtime.context():
                found = engine.outputs(budget.check_seconds, process.most_checked)
                parity(engine, found, wanted)
                wanted = Expected(case.runtime, found)
                most_seconds = min(budget.check_seconds, SPEED_SECONDS)  # each round warms up again
                speeds.append(warm_up(engine.once, most_seconds=most_seconds, called=True).call_seconds)
                settings[role] = {**engine.runtime.settings(), **({"loaded_alone": True} if alone else {})}
            del engine  # or its weights stay while the other engine loads
        if (seconds := round_seconds(speeds, Parts((1, 1), (1, 1)))) > budget.process_seconds / 2:
            remedy = budget.remedy(sum(speeds), 4)
            raise TooSlowError(f"one round of the comparison takes {seconds:.1f} s; {remedy}")
        name = short_name(runtime.key, reference.runtime)
        shares, seed = process.shares.get(name), process.seed_of(str(runtime))
        effort = Effort(
            budget.comparison_seconds,
            shares.calls if shares else Effort.blocks,
            process.fewest_rounds,
            until - time.perf_counter(),
            loads_stay=not alone,
        )
        parts = plan_parts(speeds, effort.fewest_rounds, effort.most_seconds, process.lead_in.get(name))

        @contextmanager
        def load(generator: np.random.Generator) -> Iterator[list[Turn]]:
            if alone:
                yield [_comes_back(case, pool, speeds[i // 2], generator) for i, case in enumerate(cases)]
                return
            with ExitStack() as stack:
                turns = {}
                gc.collect()  # some engines leave cyclic garbage from earlier rounds
                for i in map(int, generator.permutation(len(cases))):
                    stack.enter_context(elsewhere(generator))
                    engine = stack.enter_context(opened(cases[i], pool))
                    warm_again(engine, speeds[i // 2])
                    turns[i] = _stays(engine)
                yield [turns[i] for i in range(len(cases))]

        with monitor() as monitored:
            paired = compare(load, parts, effort, seed, patience, process.fastest.get(name))
    return PairOnce(
        process=comparison_process(
            process.number, paired, monitored.interference, runtime.threads, process.seed, patience.waited
        ),
        after_switch=(paired.after_switch_reference, paired.after_switch_runtime),
        settings=PairSettings(**settings),
        call_seconds=paired.call_seconds,
        fastest_call_seconds=min(speeds),
        log_ratios=paired.log_ratios_by_round,
        block_seconds=paired.block_seconds,
        load_seconds=paired.load_seconds,
        seconds=time.perf_counter() - started,
    )


def loaded_alone(case: Case) -> bool:
    """Whether no other engine may be loaded beside that of a case: its threads or its memory would disturb it."""
    return case.threads > 1 or case.model.facts.bytes > LARGE_BYTES


def warm_again(engine: Engine, call_seconds: float) -> None:
    """Warm up an engine that this process has loaded before."""
    with engine.runtime.context():
        for _ in range(again_calls(call_seconds)):
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
        gc.collect()  # networks with cycles would stay
        with elsewhere(generator), opened(case, pool) as engine:
            warm_again(engine, call_seconds)
            with engine.runtime.context():
                yield engine.call, engine.inputs

    return turn
