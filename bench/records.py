"""The records of a measurement, and the reasons why it is not valid. docs/formats.md describes the keys."""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
from msgspec.structs import replace as changed

from bench.cases import Case
from bench.models import INPUT_SEED
from bench.regimes import slow_processes
from bench.sampling import Budget
from bench.statistics import estimates
from bench.statistics.estimates import FEWEST_PROCESSES
from bench.statistics.percentiles import FEWEST_SAMPLES, percentile_over_processes
from study.reasons import NUMBER
from study.records.base import Interval
from study.records.bench import (
    AfterSwitch,
    BestOf,
    CaseProcess,
    CaseRecord,
    ComparisonRecord,
    Controls,
)
from study.student import mean_interval, verdict

if TYPE_CHECKING:
    from bench.measure import CaseOnce, PairOnce
    from bench.scenarios.once import LoadOnce

MOST_OVERHEAD = 0.05
"""Harness overhead, as a share of the median."""
Once = TypeVar("Once", "CaseOnce", "PairOnce", "LoadOnce")


def judged(results: Sequence[Once], elsewhere: float | None = None) -> list[Once]:
    """The results of all processes, those marked that were not made at the full speed of the others.

    Args:
        elsewhere: of a comparison, the geometric mean of the fastest medians of the two cases, in seconds.
    """
    speeds = [one.process.calibration for one in results]
    slow = slow_processes(speeds, [_call_seconds(one) for one in results], elsewhere)
    return [one if reason is None else _marked(one, reason) for one, reason in zip(results, slow, strict=True)]


def _marked(one: Once, reason: str) -> Once:
    """The result, not valid."""
    process = changed(one.process, valid=False, reasons=(*one.process.reasons, reason))
    marked: Once = replace(one, process=process)
    return marked


def _call_seconds(one: Any) -> float:
    return float(one.process.median_seconds if isinstance(one.process, CaseProcess) else one.call_seconds)


def counted(results: Sequence[Once]) -> list[Once]:
    """The processes that count: the valid ones; if there are none, all."""
    return [one for one in results if one.process.valid] or list(results)


def case_record(
    case: Case, results: "Sequence[CaseOnce]", budget: Budget, overhead_seconds: float | None
) -> CaseRecord:
    """The `extra_info` of a case, over the processes."""
    facts, used = case.model.facts, counted(results)
    samples = np.concatenate([np.asarray(one.samples) for one in used])
    medians = [one.process.median_seconds for one in used]
    median = mean_interval(medians) if len(used) > 1 else extremes(samples)
    tail = {
        f"{name}_seconds": percentile_over_processes([one.samples for one in used], percent)
        for name, percent in (("p90", 90.0), ("p95", 95.0), ("p99", 99.0), ("p999", 99.9))
    }
    first = results[0]
    reasons = [
        *effort_reasons(used, budget),
        *sample_reasons(len(samples), median.value, budget),
        *(reason for one in results for reason in one.output_reasons),
        *model_reasons(case, median.value, overhead_seconds),
        *thread_reasons(case, [one.threads_read_back for one in results]),
        *process_reasons(results),
    ]
    reasons = list(dict.fromkeys(reasons))
    return CaseRecord(
        key=case.key,
        onnx_bytes=facts.bytes,
        parameters=case.model.parameters,
        macs=facts.macs,
        subnormal_weights=facts.subnormal_weights,
        inputs_sha256=first.inputs_sha256,
        input_seed=None if case.model.run else INPUT_SEED,
        input_shapes=first.input_shapes,
        samples=len(samples),
        median_seconds=median,
        **tail,
        images_per_second_at_median=case.batch / median.value,
        parity=max((one.parity for one in results if one.parity), key=lambda parity: parity.images, default=None),
        threads_read_back=next((n for one in results if (n := one.threads_read_back) != case.threads), case.threads),
        settings=first.settings,
        processes=tuple(one.process for one in results),
        quick=budget.quick,
        valid=not reasons,
        reasons=tuple(reasons),
    )


def comparison_record(
    reference: Case,
    runtime: Case,
    results: "Sequence[PairOnce]",
    budget: Budget,
    overhead_seconds: float | None,
    margin: float,
    cases: Sequence[CaseRecord] = (),
    best_of: BestOf | None = None,
) -> ComparisonRecord:
    """A comparison over the processes.

    Args:
        cases: those of the session, for the ratio of the two that were measured apart.
        best_of: of best against best, what the two were chosen from.
    """
    used = counted(results)
    ratio = mean_interval([one.process.ratio for one in used])
    controls = {role: [getattr(one.process.controls, role) for one in used] for role in ("reference", "runtime")}
    apart = [case for case in cases if case.key in (reference.key, runtime.key)]
    unpaired = unpaired_ratio(apart, reference) if len(apart) == 2 else None
    reasons = [
        *effort_reasons(used, budget),
        *model_reasons(runtime, min(one.fastest_call_seconds for one in used), overhead_seconds),
        *(
            f"the {role} against itself is {mean_interval(values).value:.3f}, not 1: measure again"
            for role, values in controls.items()
            if not estimates.control_holds(values)
        ),
        *process_reasons(results),
    ]
    if unpaired and not reasons and all(case.valid for case in apart) and estimates.contradicts(ratio, unpaired):
        reasons.append(
            f"the engines measured apart give {unpaired.value:.3f} ({unpaired.low:.3f} to {unpaired.high:.3f}), which "
            "contradicts the ratio measured in turns: measure again on an idle machine"
        )
    reasons = list(dict.fromkeys(reasons))
    return ComparisonRecord(
        key=runtime.key,
        reference=reference.runtime,
        ratio=ratio,
        unpaired_ratio=unpaired,
        controls=Controls(**{role: mean_interval(values) for role, values in controls.items()}),
        after_switch_reference=after_switch([one.after_switch[0] for one in used]),
        after_switch_runtime=after_switch([one.after_switch[1] for one in used]),
        settings=results[0].settings,
        processes=tuple(one.process for one in results),
        margin=margin,
        verdict="withheld" if reasons else verdict(ratio, margin),
        best_of=best_of,
        quick=budget.quick,
        valid=not reasons,
        reasons=tuple(reasons),
    )


def unpaired_ratio(cases: Sequence[CaseRecord], reference: Case) -> Interval | None:
    """The ratio of two cases' medians in each process where both are valid, over these processes."""
    first, second = sorted(cases, key=lambda case: case.key != reference.key)
    medians = {one.process: one.median_seconds for one in first.processes if one.valid}
    ratios = [
        medians[one.process] / one.median_seconds for one in second.processes if one.valid and one.process in medians
    ]
    return mean_interval(ratios) if len(ratios) > 1 else None


def extremes(samples: "np.ndarray[Any, Any]") -> Interval:
    """The median, between the smallest and the largest: no interval of 95 %."""
    return Interval(value=float(np.median(samples)), low=float(samples.min()), high=float(samples.max()))


def after_switch(effects: Sequence[AfterSwitch]) -> AfterSwitch:
    """The medians over processes, as far as all of them go."""
    shortest = min(len(one.effects) for one in effects)
    table = np.array([one.effects[:shortest] for one in effects])
    return AfterSwitch(
        lead_in_calls=max(one.lead_in_calls for one in effects), effects=tuple(map(float, np.median(table, axis=0)))
    )


def effort_reasons(used: Sequence[Any], budget: Budget) -> list[str]:
    """Too little was measured for an interval."""
    if budget.quick:
        return ["a quick run: one short process is only a smoke test; leave out --quick"]
    if (n := sum(one.process.valid for one in used)) < FEWEST_PROCESSES:
        return [f"{n} valid processes are too few, expected {FEWEST_PROCESSES}: measure again on an idle machine"]
    return []


def sample_reasons(samples: int, call_seconds: float, budget: Budget) -> list[str]:
    lacking = [percent for percent in {50.0, *budget.percentiles} if samples < FEWEST_SAMPLES[percent]]
    if budget.quick or not lacking:
        return []
    remedy = budget.remedy(call_seconds, FEWEST_SAMPLES[max(lacking)])
    return [f"too few samples: {samples} do not give p{max(lacking):g}; {remedy}"]


def thread_reasons(case: Case, read_back: Iterable[int]) -> list[str]:
    return [
        f"{n} threads read back instead of {case.threads}: keep other code from setting them"
        for n in dict.fromkeys(read_back)
        if n != case.threads
    ]


def model_reasons(case: Case, call_seconds: float, overhead_seconds: float | None) -> list[str]:
    """Reasons that come from the model or the engine: calls too short for the harness, subnormal weights."""
    reasons = []
    if overhead_seconds is not None and overhead_seconds > MOST_OVERHEAD * call_seconds:
        share = overhead_seconds / call_seconds
        reasons.append(f"the harness overhead is {share:.1%} of the median: measure a larger batch")
    if count := case.model.facts.subnormal_weights:
        reasons.append(f"{count} weights are subnormal, which slows some processors down 100-fold: set them to 0")
    return reasons


def process_reasons(results: Sequence[Once]) -> list[str]:
    """The reasons of the processes, if too few of them are valid: of alike ones the first, with their number."""
    if sum(one.process.valid for one in results) >= FEWEST_PROCESSES:
        return []
    found = [(reason, one.process.process) for one in results for reason in one.process.reasons]
    alike: dict[str, list[tuple[str, int]]] = {}
    for reason, number in found:
        alike.setdefault(NUMBER.sub("0", reason), []).append((reason, number))
    return [
        f"{given[0][0]} (in {len({number for _, number in given})} of {len(results)} processes)"
        for given in alike.values()
    ]
