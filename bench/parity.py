"""Whether the callable that will be timed computes what another engine computes."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from bench.cases import Case, Engine, give_values, opened
from bench.first_difference import sentence
from bench.models import Inputs
from study import arithmetic
from study.difference import Difference, Limit
from study.errors import StudyError
from study.parity import INT8_DIFFERENCE, INT8_MISMATCHES, Calls, differences, has_nan
from study.records.base import Parity


@dataclass(frozen=True)
class Expected:
    """The outputs of another engine."""

    runtime: str
    calls: Calls


def expected(case: Case, pool: Sequence[Inputs], seconds: float = math.inf, most: int | None = None) -> Expected | None:
    """The outputs, on one thread, of the first runtime of `case.against` that runs the model; None if none does.

    No call begins after `seconds`: of a slow engine there are fewer outputs, at least of one call. There are at most
    `most` calls.

    Call it before the case itself is opened: two engines with several threads each would slow each other down.

    Raises:
        StudyError: the model is one of the catalogue, and the runtime does not run it.
    """
    for runtime in case.against:
        try:
            with opened(Case(case.model, runtime, case.batch), pool) as other, other.runtime.context():
                return Expected(runtime, other.outputs(seconds, most))
        except StudyError:
            if not case.model.is_file:
                raise
            # a case of its own reports it
    return None


def parity(
    engine: Engine, found: Calls, wanted: Expected | None, explain: bool = False
) -> tuple[Parity | None, list[str]]:
    """Compare the outputs of the callable that will be timed with those of another engine, as far as both have called.

    Args:
        explain: whether the error says which node begins to differ, which takes up to a minute.

    Returns:
        The comparison, and reasons why the case is not valid although its outputs are within the limit.

    Raises:
        StudyError: the outputs differ by more than `limit`, or a class of a model of the catalogue does.
    """
    if wanted is None:
        return None, []
    case, names = engine.case, engine.case.model.facts.outputs
    calls = min(len(wanted.calls), len(found))
    results = differences(names, wanted.calls[:calls], found[:calls], case.batch)
    items = frozenset[tuple[int, int]]().union(*(one.items for one in results))
    result = Parity(
        images=calls * case.batch,
        max_abs_difference=max((one.largest for one in results if one.kind != "decision"), default=0.0),
        argmax_mismatches=len(items),
        against=wanted.runtime,
    )
    allowed = limit(case)
    faults = [one for one in results if not one.holds(allowed)]
    if faults and (reason := _random(replace(engine, pool=engine.pool[:calls]), wanted.runtime, faults)):
        raise StudyError(f"{case}: {reason}")
    reasons = [one.sentence(wanted.runtime, allowed) for one in faults]
    if case.model.run:
        mismatches = INT8_MISMATCHES if case.model.run.variant.int8 else 0.0
        if result.argmax_mismatches > mismatches * result.images:
            reasons.append(f"{result.argmax_mismatches} of {result.images} classes differ, expected {mismatches:.0%}")
    if reasons:
        more = f"; {len(reasons) - 2} more outputs differ" if len(reasons) > 2 else ""
        if explain and faults and (where := sentence(case, wanted.runtime, allowed, engine.pool[faults[0].call])):
            more += f"; {where}"
        raise StudyError(f"{case}: {'; '.join(reasons[:2])}{more}")
    return result, [doubt for one in results if (doubt := one.doubt(allowed))]


def limit(case: Case) -> Limit:
    """The limit of the catalogue's entry; of any other file the user's, or that of its coarsest arithmetic."""
    if case.model.run:
        assert case.model.entry is not None
        return Limit(INT8_DIFFERENCE if case.model.run.variant.int8 else case.model.entry.largest_difference)
    return arithmetic.limit(case.model.facts.arithmetic, case.model.tolerance)


def nan_reasons(case: Case, found: Calls) -> list[str]:
    """A reason why a case is not valid: its outputs have NaN."""
    names = case.model.facts.outputs
    wrong = [name for i, name in enumerate(names) if any(has_nan(outputs[i]) for outputs in found)]
    if not wrong:
        return []
    outputs = f"output {wrong[0]!r} has" if len(wrong) == 1 else f"outputs {', '.join(map(repr, wrong))} have"
    return [f"{outputs} NaN for these inputs; {give_values(case.model)}"]


def _random(engine: Engine, runtime: str, faults: Sequence[Difference]) -> str:
    """Whether one of two engines differs from itself when it is called again; then the sentence that says so."""
    case = engine.case
    with opened(Case(case.model, runtime, case.batch), engine.pool) as other, other.runtime.context():
        twice = [(each, each.outputs(), each.outputs()) for each in (engine, other)]
    for each, first, second in twice:
        for one in differences(case.model.facts.outputs, first, second, case.batch):
            if not one.holds(limit(case)) and one.name in {fault.name for fault in faults}:
                return (
                    f"{each.case.runtime} gives other values of output {one.name!r} for the same input: it is random "
                    f"or keeps a state, so two engines cannot be compared; measure one, with --runtimes {case.runtime}"
                )
    return ""
