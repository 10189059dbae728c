"""Simulated sessions, in which the truth is known: do intervals hold it, and are verdicts and forecasts right?

Every row has its number of trials, what was found and what was expected.
"""

import math
from argparse import Namespace
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from bench.experiments.simulation import LOADS, Logs, Machine, machines
from bench.pairing import Block, evaluate
from bench.parts import Parts
from bench.statistics.estimates import control_holds, homogeneity
from bench.statistics.forecast import FEWEST_FOR_PRECISION, MOST_PROCESSES, Measurement, forecast, more_processes
from bench.statistics.percentiles import percentile_over_processes
from bench.statistics.pilot import Components, Costs, Nested, Shares, components
from study.records.bench import Calibration
from study.student import half_width, mean_interval, student, verdict

NEAR_95 = (0.93, 0.97)
PROCESS = 0.0066
"""Standard deviation between processes of the machine of docs/method.md."""
MARGIN = 0.02
ROUNDING = 1e-9


@dataclass(frozen=True)
class Row:
    """One line of the result."""

    name: str
    n: int
    found: float
    expected: tuple[float, float]

    @property
    def reached(self) -> bool:
        low, high = self.expected
        return low - ROUNDING <= self.found <= high + ROUNDING

    def __str__(self) -> str:
        low, high = self.expected
        missed = "" if self.reached else "   MISSED"
        return f"{self.name:72} n {self.n:5}  {self.found:.4f}  expected {low:.3f} to {high:.3f}{missed}"


def held(logs: Logs, truth: float) -> float:
    """Share of the sessions, [sessions, processes], whose 95 % interval contains the truth: `mean_interval`, fast."""
    n = logs.shape[1]
    half = student(n) * logs.std(axis=1, ddof=1) / math.sqrt(n)
    return float(np.mean(np.abs(logs.mean(axis=1) - truth) <= half))


def coverage(generator: np.random.Generator, sessions: int) -> Iterator[Row]:
    """Of the ratio, five processes a session."""
    for name, machine in machines().items():
        logs = np.concatenate([machine.ratios(generator, 500, 5) for _ in range(sessions // 500)])
        yield Row(f"ratio, {name}", len(logs), held(logs, 0.0), NEAR_95)


def whole_estimator(generator: np.random.Generator, sessions: int) -> Iterator[Row]:
    """Coverage through `bench.pairing.evaluate`, which also decides which blocks were made at full speed."""
    for name, machine in machines().items():
        if "all of these" in name and f"{PROCESS:.2%}" in name:
            logs = np.log([[evaluated(blocks) for blocks in one] for one in machine.blocks(generator, sessions, 5)])
            yield Row(f"ratio by evaluate(), {name}", sessions, held(logs, 0.0), NEAR_95)


def evaluated(logs: Logs) -> float:
    """The ratio of one process from the logarithms of its parts, [rounds, blocks, 4]."""
    calm = Calibration(arithmetic_seconds=1e-4, memory_seconds=1e-4)
    rounds = [[Block(tuple(parts[:, None]), (calm, calm), 0.01) for parts in blocks] for blocks in np.exp(logs)]
    return evaluate(rounds, Parts((1, 1), (0, 0), known=True), 1.0).ratio


def power(generator: np.random.Generator, sessions: int) -> Iterator[Row]:
    """For a true difference of 1.5 %, between engines that differ from process to process as little as 0.66 %."""
    before = 0.0
    for n, least in ((3, 0.0), (5, 0.9), (10, 0.9), (20, 0.9)):
        logs = Machine(process=PROCESS, log_ratio=math.log(1.015)).ratios(generator, sessions, n)
        verdicts = [verdict(mean_interval(np.exp(values)), MARGIN) for values in logs]
        shown = verdicts.count("faster") / sessions
        yield Row(f"1.5 % shown, process 0.66 %, {n} processes", sessions, shown, (max(least, before), 1.0))
        before = min(shown, 0.999)


def errors(generator: np.random.Generator, sessions: int) -> Iterator[Row]:
    """Wrong verdicts, and controls that fail by chance."""
    for process in (0.003, PROCESS, 0.01):
        logs = Machine(process=process).ratios(generator, sessions, 5)
        verdicts = [verdict(mean_interval(np.exp(values)), MARGIN) for values in logs]
        wrong = (verdicts.count("faster") + verdicts.count("slower")) / sessions
        # 5 %, and three standard errors of so many trials
        limit = 0.05 + 3 * math.sqrt(0.05 * 0.95 / sessions)
        yield Row(f"false difference, process {process:.2%}", sessions, wrong, (0, limit))
    for process in (0.003, PROCESS):
        logs = Machine(process=process, log_ratio=math.log1p(MARGIN)).ratios(generator, sessions, 5)
        same = [verdict(mean_interval(np.exp(values)), MARGIN) for values in logs].count("the same") / sessions
        yield Row(f'false "the same", true difference 2 %, process {process:.2%}', sessions, same, (0, 0.025))
    logs = Machine(bursts=True, tails=True).ratios(generator, sessions, 5)
    failed = np.mean([not control_holds(np.exp(values)) for values in logs])
    yield Row("control that fails by chance, two a comparison", sessions, float(failed), (0, 0.001))


def cases(generator: np.random.Generator, sessions: int, calls: int) -> Iterator[Row]:
    """Coverage of the median and the tail of single cases, five processes with so many calls.

    Less is expected of the tail, and of a median between two speeds: docs/method.md says why.
    """
    for name, machine in {
        "calm": Machine(process=PROCESS),
        "bursts": Machine(process=PROCESS, bursts=True),
        "heavy tails": Machine(process=PROCESS, tails=True),
        "bursts, heavy tails, loads of two speeds": Machine(process=PROCESS, bursts=True, tails=True, bimodal=True),
    }.items():
        many = machine.calls(generator, 200, 10_000)
        medians = float(np.mean(np.median(machine.calls(generator, 400, 4000), axis=(-2, -1))))
        logs = machine.calls(generator, calls // LOADS, sessions, 5).reshape(sessions, 5, -1)
        here = f"{calls} calls a process, {name}"
        least = 0.88 if machine.bimodal else 0.92
        yield Row(f"median, {here}", sessions, held(np.median(logs, axis=-1), medians), (least, 0.98))
        for percent, least in ((90.0, 0.90), (95.0, 0.85), (99.0, 0.75)):
            truth = math.exp(float(np.quantile(many, percent / 100)))
            intervals = [percentile_over_processes(list(session), percent) for session in np.exp(logs)]
            share = np.mean([one.low <= truth <= one.high for one in intervals if one])
            yield Row(f"p{percent:.0f}, {here}", sessions, float(share), (least, 1.0))


def forecasts(generator: np.random.Generator, sessions: int) -> Iterator[Row]:
    """The half-width that the pilot expects against the one that sessions have; six models, two pilot processes."""
    machine, shares = Machine(process=PROCESS, tails=True), Shares(3, 12)
    expected, realised = [], []
    for _ in range(sessions):
        blocks = machine.blocks(generator, 6, 2)
        ratios = (blocks[..., 0] + blocks[..., 1] - blocks[..., 2] - blocks[..., 3]) / 2
        parts = components([Nested([list(process[:4]) for process in model]) for model in ratios])
        costs = Costs(0.01, 0.02, 0.05)
        plan = forecast([Measurement(str(i), 1, True, part, costs, shares) for i, part in enumerate(parts)])
        expected.append(float(np.median(list(plan.half_widths.values()))))
        logs = machine.ratios(generator, 6, 5)
        realised.append(float(np.median([half_width(values.std(ddof=1), 5) for values in logs])))
    ratio = np.array(expected) / np.array(realised)
    yield Row("forecast / realised half-width, six models, median", sessions, float(np.median(ratio)), (0.85, 1.3))
    within = float(np.mean((ratio > 0.5) & (ratio < 2)))
    yield Row("the same within a factor of 2", sessions, within, (0.8, 1.0))


def second_stage(generator: np.random.Generator, sessions: int) -> Iterator[Row]:
    """Coverage, and half-widths, after `--precision 1%` has asked for more processes."""
    for deviation in (0.006, 0.012, 0.02, 0.03):
        measured = [Measurement("a", 1, True, Components(0, 0, deviation**2), Costs(1, 1, 1), Shares(1, 1))]
        planned = forecast(measured, precision=0.01).processes
        for first, how in ((FEWEST_FOR_PRECISION, "pilot too low"), (planned, "pilot right")):
            hold, narrow = [], []
            for values in np.exp(generator.normal(0, deviation, (sessions, MOST_PROCESSES))):
                found = mean_interval(values[: first + more_processes({"a": values[:first]}, 0.01)])
                hold.append(found.low <= 1 <= found.high)
                narrow.append(found.high / found.value <= 1.012)
            yield Row(f"second stage, sd {deviation:.1%}, {how}", sessions, float(np.mean(hold)), NEAR_95)
            if deviation < 0.03:
                yield Row("  half-width at most 1.2 %", sessions, float(np.mean(narrow)), (0.9, 1.0))


def sessions_alike(generator: np.random.Generator, trials: int) -> Iterator[Row]:
    """The test of homogeneity on twenty sessions that differ by chance alone."""
    machine = Machine(process=PROCESS, tails=True)
    p = [
        homogeneity(
            [mean_interval(np.exp(values)) for values in machine.ratios(generator, 20, 5)], [5] * 20, draws=4000
        )
        for _ in range(trials)
    ]
    rejected = float(np.mean([one <= 0.05 for _, one in p]))
    yield Row("homogeneity of 20 sessions rejected at 5 %", trials, rejected, (0.0, 0.08))


def run(options: Namespace) -> bool:
    """All of it, seeded; `--repetitions` changes the number of sessions of each row."""
    sessions = max(500, options.repetitions or 4000)
    generator = np.random.default_rng(0)
    reached = True
    for rows in (
        coverage(generator, sessions),
        whole_estimator(generator, sessions // 4),
        power(generator, sessions // 2),
        errors(generator, sessions),
        cases(generator, sessions // 8, 136),
        cases(generator, sessions // 8, 800),
        forecasts(generator, sessions // 10),
        second_stage(generator, sessions),
        sessions_alike(generator, sessions // 10),
    ):
        for row in rows:
            print(row, flush=True)
            reached &= row.reached
    return reached
