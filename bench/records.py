"""The records of a measurement, and the reasons why it is not valid. docs/formats.md describes the keys."""

import statistics
from collections.abc import Sequence
from typing import Any

import numpy as np
from scipy.stats import mannwhitneyu

from bench.cases import Case
from bench.interference import Interference, as_record, disturbances
from bench.models import INPUT_SEED, Inputs
from bench.pairing import Comparison, verdict
from bench.percentiles import NAMES, percentile
from bench.sampling import Budget, WarmUp
from study import onnx_inputs as inputs

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
    settings: Sequence[dict[str, Any]],
    parity: dict[str, Any] | None,
    observed: Interference,
    yardstick_seconds: float,
    overhead_seconds: float | None,
) -> dict[str, Any]:
    """The `extra_info` of a case.

    Args:
        samples: seconds of each call, in order, load after load.
    """
    facts = case.model.facts
    loads = np.array_split(np.asarray(samples), len(settings))
    times: dict[str, float | None] = {}
    for percent, name in NAMES.items():
        found = percentile(samples, percent)
        times[f"{name}_seconds"] = found.value if found else None
        times[f"{name}_low_seconds"] = found.low if found else None
        times[f"{name}_high_seconds"] = found.high if found else None
    median = statistics.median(samples)
    threads = next((s["threads"] for s in settings if s["threads"] != case.threads), case.threads)
    reasons = case_reasons(case, samples, budget, warm_ups, threads, overhead_seconds)
    reasons += disturbances(observed, case.threads)
    return {
        **case.place(),
        "onnx_bytes": facts.bytes,
        "parameters": case.model.parameters,
        "macs": facts.macs,
        "subnormal_weights": facts.subnormal_weights,
        "inputs_sha256": inputs.digest(pool),
        "input_seed": None if case.model.run else INPUT_SEED,
        "input_shapes": {name: list(array.shape) for name, array in pool[0].items()},
        "samples": len(samples),
        **times,
        "images_per_second": case.batch / median,
        "parity": parity,
        "threads_read_back": threads,
        "settings": settings[-1],
        "cores_used": observed.cores_used,
        "drift": drift(samples)[0],
        "spread": spread(samples),
        "machine": as_record(observed),
        "yardstick_seconds": yardstick_seconds,
        "warmup": {
            "calls": sum(w.calls for w in warm_ups),
            "seconds": sum(w.seconds for w in warm_ups),
            "stable": all(w.stable for w in warm_ups),
        },
        "load_medians_seconds": [float(np.median(load)) for load in loads],
        "processes": [
            {key: times[key] for key in ("median_seconds", "median_low_seconds", "median_high_seconds")}
            | {"valid": not reasons}
        ],
        "between_spread": None,
        "quick": budget.quick,
        "valid": not reasons,
        "reasons": reasons,
    }


def case_reasons(
    case: Case,
    samples: Sequence[float],
    budget: Budget,
    warm_ups: Sequence[WarmUp],
    threads: int,
    overhead_seconds: float | None,
) -> list[str]:
    """Reasons why a case is not valid, each with a remedy; empty if it is."""
    median = statistics.median(samples)
    moved, by_accident = drift(samples)
    spread_out = spread(samples)
    reasons = []
    if budget.quick:
        reasons.append(f"a quick run: {len(samples)} samples are only a smoke test; leave out --quick")
    elif any(percentile(samples, percent) is None for percent in budget.percentiles):
        reasons.append(f"too few samples: {len(samples)} do not give p{max(budget.percentiles):g}; measure longer")
    if not all(warm_up.stable for warm_up in warm_ups):
        seconds = max(warm_up.seconds for warm_up in warm_ups)
        reasons.append(f"latency was still changing after {seconds:.1f} s of warm-up: let the machine rest")
    if threads != case.threads:
        reasons.append(f"{threads} threads read back instead of {case.threads}: keep other code from setting them")
    if abs(moved) > MOST_DRIFT and not by_accident:
        reasons.append(f"latency drifted by {moved:+.1%}: let the machine rest, then measure again")
    if spread_out > MOST_SPREAD:
        reasons.append(f"the interquartile range is {spread_out:.0%} of the median: stop other programs")
    return reasons + model_reasons(case, median, overhead_seconds)


def model_reasons(case: Case, call_seconds: float, overhead_seconds: float | None) -> list[str]:
    """Reasons that come from the model or the engine: calls too short for the harness, subnormal weights."""
    reasons = []
    if overhead_seconds is not None and overhead_seconds > MOST_OVERHEAD * call_seconds:
        share = overhead_seconds / call_seconds
        reasons.append(f"the harness overhead is {share:.1%} of the median: measure a larger batch")
    if case.model.facts.subnormal_weights:
        count = case.model.facts.subnormal_weights
        reasons.append(f"{count} weights are subnormal, which slows some processors down 100-fold: set them to 0")
    return reasons


def drift(samples: Sequence[float]) -> tuple[float, bool]:
    """Change of the median from the first to the last third, as a share, and whether it may be chance.

    It may be chance unless the Mann-Whitney test of the two thirds rejects equality at 0.1 %.
    """
    third = max(1, len(samples) // 3)
    first, last = samples[:third], samples[-third:]
    moved = statistics.median(last) / statistics.median(first) - 1
    return moved, bool(mannwhitneyu(first, last).pvalue > 0.001)


def spread(samples: Sequence[float]) -> float:
    """Interquartile range over median."""
    lower, median, upper = np.quantile(samples, [0.25, 0.5, 0.75])
    return float((upper - lower) / median)


def comparison_record(
    reference: Case,
    runtime: Case,
    found: Comparison,
    budget: Budget,
    warm_ups: Sequence[WarmUp],
    settings: dict[str, Any],
    observed: Interference,
    seed: int,
    overhead_seconds: float | None,
) -> dict[str, Any]:
    """The record of a paired comparison; `settings` are those that the engines report, by role."""
    reasons = []
    if budget.quick:
        reasons.append(f"a quick run: {found.rounds} rounds are only a smoke test; leave out --quick")
    if not all(warm_up.stable for warm_up in warm_ups):
        reasons.append("latency was still changing after the warm-up: let the machine rest")
    reasons += model_reasons(runtime, min(one.call_seconds for one in warm_ups), overhead_seconds)
    reasons += disturbances(observed, runtime.threads)
    own = found.as_record()
    return {
        **runtime.place(),
        "reference": reference.runtime,
        **own,
        "random_seed": seed,
        "settings": settings,
        "processes": [{key: own[key] for key in ("ratio", "low", "high", "noise_floor")}],
        "between_spread": None,
        "verdict": "withheld" if reasons else verdict(found.ratio, found.noise_floor),
        "cores_used": observed.cores_used,
        "machine": as_record(observed),
        "quick": budget.quick,
        "valid": not reasons,
        "reasons": reasons,
    }
