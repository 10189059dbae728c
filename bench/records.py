"""The records of a measurement, and the reasons why it is not valid. docs/formats.md describes the keys."""

import statistics
from collections.abc import Sequence

import numpy as np
from msgspec.structs import replace
from scipy.stats import mannwhitneyu

from bench.cases import Case
from bench.interference import Interference, disturbances
from bench.models import INPUT_SEED, Inputs
from bench.pairing import FEWEST_ROUNDS, Paired
from bench.percentiles import FEWEST_SAMPLES, percentile
from bench.sampling import WARM_UP_CALLS, Budget, WarmUp
from bench.significance import verdict
from study.onnx_values import digest
from study.records.base import Interval, Parity
from study.records.bench import (
    CaseProcess,
    CaseRecord,
    ComparisonProcess,
    ComparisonRecord,
    PairSettings,
    Settings,
    WarmUpRecord,
)

MOST_OVERHEAD = 0.05
"""Harness overhead, as a share of the median."""
MOST_DRIFT = 0.05
"""Change of the median from the first to the last third of the samples; only a significant change counts."""
MOST_SPREAD = 0.25
"""Interquartile range over median."""


def case_record(
    case: Case,
    pool: Sequence[Inputs],
    samples: Sequence[float],
    budget: Budget,
    warm_ups: Sequence[WarmUp],
    settings: Sequence[Settings],
    parity: Parity | None,
    seen: Interference,
    calibration_seconds: float,
    overhead_seconds: float | None,
    output_reasons: Sequence[str] = (),
) -> CaseRecord:
    """The `extra_info` of a case.

    Args:
        samples: seconds of each call, in order, load after load.
        settings: those that the engine reports after each load.
        output_reasons: why its outputs make it not valid.
    """
    facts = case.model.facts
    extremes = Interval(value=statistics.median(samples), low=min(samples), high=max(samples))
    median = percentile(samples, 50) or extremes  # not an interval of 95 %: a reason below
    change, by_chance = drift(samples)
    record = CaseRecord(
        key=case.key,
        onnx_bytes=facts.bytes,
        parameters=case.model.parameters,
        macs=facts.macs,
        subnormal_weights=facts.subnormal_weights,
        inputs_sha256=digest(pool),
        input_seed=None if case.model.run else INPUT_SEED,
        input_shapes={name: array.shape for name, array in pool[0].items()},
        samples=len(samples),
        median_seconds=median,
        p90_seconds=percentile(samples, 90),
        p95_seconds=percentile(samples, 95),
        p99_seconds=percentile(samples, 99),
        p999_seconds=percentile(samples, 99.9),
        images_per_second=case.batch / median.value,
        parity=parity,
        threads_read_back=next((s["threads"] for s in settings if s["threads"] != case.threads), case.threads),
        settings=settings[-1],
        cores_used=seen.cores_used,
        drift=change,
        spread=spread(samples),
        machine=seen.machine,
        yardstick_seconds=calibration_seconds,
        warmup=WarmUpRecord(
            calls=sum(w.calls for w in warm_ups),
            seconds=sum(w.seconds for w in warm_ups),
            stable=all(w.stable for w in warm_ups),
        ),
        load_medians_seconds=tuple(
            float(np.median(load)) for load in np.array_split(np.asarray(samples), len(settings))
        ),
        processes=(),
        between_spread=None,
        quick=budget.quick,
        valid=True,
        reasons=(),
    )
    reasons = case_reasons(record, budget, warm_ups, by_chance)
    reasons += model_reasons(case, median.value, overhead_seconds)
    reasons += output_reasons
    reasons += disturbances(seen, case.threads)
    valid = not reasons
    processes = (CaseProcess(median_seconds=median, valid=valid),)
    return replace(record, processes=processes, valid=valid, reasons=tuple(reasons))


def case_reasons(record: CaseRecord, budget: Budget, warm_ups: Sequence[WarmUp], drift_by_chance: bool) -> list[str]:
    """Reasons in the samples themselves why a case is not valid, each with a remedy."""
    reasons = []
    lacking = [percent for percent in {50.0, *budget.percentiles} if record.samples < FEWEST_SAMPLES[percent]]
    if budget.quick:
        samples = "1 sample is" if record.samples == 1 else f"{record.samples} samples are"
        reasons.append(f"a quick run: {samples} only a smoke test; leave out --quick")
    elif lacking:
        remedy = budget.remedy(record.median_seconds.value, FEWEST_SAMPLES[max(lacking)])
        reasons.append(f"too few samples: {record.samples} do not give p{max(lacking):g}; {remedy}")
    reasons += unstable(warm_ups, budget)
    if (threads := record.threads_read_back) != record.key.threads:
        reasons.append(
            f"{threads} threads read back instead of {record.key.threads}: keep other code from setting them"
        )
    if abs(record.drift) > MOST_DRIFT and not drift_by_chance:
        reasons.append(f"latency drifted by {record.drift:+.1%}: let the machine rest, then measure again")
    if record.spread > MOST_SPREAD:
        reasons.append(f"the interquartile range is {record.spread:.0%} of the median: stop other programs")
    return reasons


def unstable(warm_ups: Sequence[WarmUp], budget: Budget) -> list[str]:
    """The reason why the latency is not known to have been stable after the warm-up, if it is not."""
    if all(warm_up.enough for warm_up in warm_ups):
        seconds = max(warm_up.seconds for warm_up in warm_ups)
        changing = f"latency was still changing after {seconds:.1f} s of warm-up: let the machine rest"
        return [] if all(warm_up.stable for warm_up in warm_ups) else [changing]
    remedy = budget.remedy(max(warm_up.call_seconds for warm_up in warm_ups), 4 * WARM_UP_CALLS[0])
    return [] if budget.quick else [f"the warm-up was too short to show a stable latency; {remedy}"]


def model_reasons(case: Case, call_seconds: float, overhead_seconds: float | None) -> list[str]:
    """Reasons that come from the model or the engine: calls too short for the harness, subnormal weights."""
    reasons = []
    if overhead_seconds is not None and overhead_seconds > MOST_OVERHEAD * call_seconds:
        share = overhead_seconds / call_seconds
        reasons.append(f"the harness overhead is {share:.1%} of the median: measure a larger batch")
    if count := case.model.facts.subnormal_weights:
        reasons.append(f"{count} weights are subnormal, which slows some processors down 100-fold: set them to 0")
    return reasons


def drift(samples: Sequence[float]) -> tuple[float, bool]:
    """Change of the median from the first to the last third, as a share, and whether it may be chance.

    It may be chance unless the Mann-Whitney test of the two thirds rejects equality at 0.1 %.
    """
    third = max(1, len(samples) // 3)
    first, last = samples[:third], samples[-third:]
    change = statistics.median(last) / statistics.median(first) - 1
    return change, bool(mannwhitneyu(first, last).pvalue > 0.001)


def spread(samples: Sequence[float]) -> float:
    """Interquartile range over median."""
    lower, median, upper = np.quantile(samples, [0.25, 0.5, 0.75])
    return float((upper - lower) / median)


def comparison_record(
    reference: Case,
    runtime: Case,
    paired: Paired,
    budget: Budget,
    warm_ups: Sequence[WarmUp],
    settings: PairSettings,
    seen: Interference,
    seed: int,
    overhead_seconds: float | None,
) -> ComparisonRecord:
    """The record of a paired comparison; `settings` are those that the engines report."""
    reasons = []
    if budget.quick:
        reasons.append(f"a quick run: {paired.rounds} rounds are only a smoke test; leave out --quick")
    elif paired.rounds < FEWEST_ROUNDS:
        calls = 4 * FEWEST_ROUNDS
        remedy = budget.remedy(sum(one.call_seconds for one in warm_ups), calls)
        reasons.append(f"too few rounds: {paired.rounds} instead of {FEWEST_ROUNDS}; {remedy}")
    reasons += unstable(warm_ups, budget)
    reasons += model_reasons(runtime, min(one.call_seconds for one in warm_ups), overhead_seconds)
    reasons += disturbances(seen, runtime.threads)
    return ComparisonRecord(
        key=runtime.key,
        reference=reference.runtime,
        ratio=paired.ratio,
        rounds=paired.rounds,
        blocks=paired.blocks,
        calls=paired.calls,
        controls=paired.controls,
        noise_floor=paired.noise_floor,
        random_seed=seed,
        settings=settings,
        processes=(ComparisonProcess(ratio=paired.ratio, noise_floor=paired.noise_floor),),
        between_spread=None,
        verdict="withheld" if reasons else verdict(paired.ratio, paired.noise_floor),
        cores_used=seen.cores_used,
        machine=seen.machine,
        quick=budget.quick,
        valid=not reasons,
        reasons=tuple(reasons),
    )
