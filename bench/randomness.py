"""A file that draws random numbers: two engines cannot be compared, which is said before anything is timed."""

from collections.abc import Sequence

from bench.cases import Case, opened
from bench.parity import limit
from study.errors import StudyError
from study.parity import differences


def refuse_random(cases: Sequence[Case]) -> None:
    """Refuse a comparison of engines for a file whose outputs are random, and not by its operators alone: noise may be
    multiplied by an input that is 0.

    Raises:
        StudyError: an engine gives other outputs for the same inputs.
    """
    compared = {case.model.name: case for case in reversed(cases) if case.against and case.model.is_file}
    for case in compared.values():
        if not (drawn := case.model.facts.random):
            continue
        names = [case.runtime, *case.against]
        runtime = "onnxruntime" if "onnxruntime" in names else names[0]
        if output := random_output(Case(case.model, runtime, case.batch)):
            more = f" and {len(drawn) - 1} more" if len(drawn) > 1 else ""
            raise StudyError(
                f"{case.model.onnx}: output {output!r} is random, because node {drawn[0]}{more} draws numbers, so two "
                f"engines cannot be compared; measure one alone, with --runtimes {runtime}"
            )


def random_output(case: Case) -> str:
    """An output that differs between two calls with the same inputs; "" if none does, or the engine does not run it."""
    pool = case.model.pool(case.batch)[:1]
    try:
        with opened(case, pool) as engine, engine.runtime.context():
            first, second = engine.outputs(), engine.outputs()
    except StudyError:
        return ""  # the engine's own case reports it
    results = differences(case.model.facts.outputs, first, second, case.batch)
    return next((one.name for one in results if not one.holds(limit(case))), "")
