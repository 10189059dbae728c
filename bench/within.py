"""The record of a measurement in one process, and the reasons why the machine or the samples make it not valid."""

import statistics
from collections.abc import Sequence

import numpy as np

from bench.machine.interference import Interference, disturbances
from bench.pairing import PairedOnce
from bench.sampling import CALLS_OF_A_LOAD, Budget, WarmUp
from bench.statistics.percentiles import NAMES
from study.records.bench import Calibration, CaseProcess, ComparisonProcess, WarmUpRecord

MOST_DRIFT = 0.05
"""Change of the median from the first to the last third of the samples; only a significant change counts."""
MOST_SPREAD = 0.25
"""Interquartile range over median."""


def case_process(
    number: int,
    samples: Sequence[float],
    loads: Sequence[int],
    warm_up: WarmUp,
    seen: Interference,
    speed: Calibration,
    threads: int,
    budget: Budget,
    waited: float = 0.0,
) -> CaseProcess:
    """The record of a case in one process.

    Args:
        samples: seconds of each call, in order, load after load.
        loads: number of calls of each load.
        warm_up: of the first load.
        speed: the calibration during the calls.
        waited: seconds in which they waited for the machine's full speed.
    """
    change, by_chance = drift(samples)
    wide = spread(samples)
    reasons = [*unstable(warm_up, budget), *disturbances(seen, threads)]
    if abs(change) > MOST_DRIFT and not by_chance:
        reasons.append(f"latency drifted by {change:+.1%}: let the machine rest, then measure again")
    if wide > MOST_SPREAD:
        reasons.append(f"the interquartile range is {wide:.0%} of the median: stop other programs")
    percentiles = {f"{name}_seconds": float(np.quantile(samples, percent / 100)) for percent, name in NAMES.items()}
    return CaseProcess(
        process=number,
        samples=len(samples),
        **percentiles,
        load_medians_seconds=tuple(
            float(np.median(load)) for load in np.split(np.asarray(samples), np.cumsum(loads)[:-1])
        ),
        drift=change,
        spread=wide,
        warmup=WarmUpRecord(calls=warm_up.calls, seconds=warm_up.seconds, stable=warm_up.stable),
        calibration=speed,
        machine=seen.machine,
        cores_used=seen.cores_used,
        waited_seconds=waited,
        valid=not reasons,
        reasons=tuple(reasons),
    )


def comparison_process(
    number: int,
    paired: PairedOnce,
    seen: Interference,
    threads: int,
    seed: int,
    waited: float = 0.0,
) -> ComparisonProcess:
    """The record of a comparison in one process."""
    reasons = [*paired.reasons, *disturbances(seen, threads)]
    return ComparisonProcess(
        process=number,
        ratio=paired.ratio,
        controls=paired.controls,
        rounds=paired.rounds,
        blocks=paired.blocks,
        full_speed_blocks=paired.full_speed_blocks,
        calls=paired.calls,
        reference_seconds=paired.engine_seconds[0],
        runtime_seconds=paired.engine_seconds[1],
        random_seed=seed,
        calibration=paired.calibration,
        machine=seen.machine,
        cores_used=seen.cores_used,
        waited_seconds=waited,
        valid=not reasons,
        reasons=tuple(reasons),
    )


def unstable(warm_up: WarmUp, budget: Budget) -> list[str]:
    """The reason why the latency is not known to have been stable after the warm-up, if it is not."""
    if warm_up.enough:
        changing = f"latency was still changing after {warm_up.seconds:.1f} s of warm-up: let the machine rest"
        return [] if warm_up.stable else [changing]
    remedy = budget.remedy(warm_up.call_seconds, CALLS_OF_A_LOAD)
    return [] if budget.quick else [f"the warm-up was too short to show a stable latency; {remedy}"]


def drift(samples: Sequence[float]) -> tuple[float, bool]:
    """Change of the median from the first to the last third, as a share, and whether it may be chance.

    It may be chance unless the Mann-Whitney test of the two thirds rejects equality at 0.1 %.
    """
    from scipy.stats import mannwhitneyu  # imported here to keep --help fast

    third = max(1, len(samples) // 3)
    first, last = samples[:third], samples[-third:]
    change = statistics.median(last) / statistics.median(first) - 1
    return change, bool(mannwhitneyu(first, last).pvalue > 0.001)


def spread(samples: Sequence[float]) -> float:
    """Interquartile range over median."""
    lower, median, upper = np.quantile(samples, [0.25, 0.5, 0.75])
    return float((upper - lower) / median)
