"""Some engines end the process at a fault: they first compute in a process of their own."""

import math
import signal
from contextlib import suppress
from dataclasses import replace
from multiprocessing import get_context

from bench.cases import Case, opened
from bench.runtimes import find
from study.errors import StudyError

_ENDS: dict[str, int] = {}
"""Exit codes of the processes so far, by case."""


def survive(case: Case, seconds: float = math.inf) -> None:
    """Compute the pool of a user's file in fresh processes, in the case's engine and in those it is compared with.

    Each is computed once, and only by an engine that `may_crash`; no call begins after `seconds`. Any other failure
    shows when the case itself is opened.

    Raises:
        StudyError: a signal ended the process of the case's engine.
    """
    if case.model.run:
        return
    for runtime in case.against:
        with suppress(StudyError):
            survive(replace(case, runtime=runtime, against=()), seconds)
    if not getattr(find(case.runtime), "may_crash", False):
        return
    case = replace(case, threads=1, mode="native")
    if str(case) not in _ENDS:
        process = get_context("spawn").Process(target=_compute, args=(case, seconds), daemon=True)
        process.start()
        process.join()
        _ENDS[str(case)] = process.exitcode or 0
    if (code := _ENDS[str(case)]) < 0:
        raise StudyError(f"{case} does not run: {case.runtime} crashes with {signal.Signals(-code).name}")


def _compute(case: Case, seconds: float) -> None:
    pool = case.model.pool(case.batch)
    with suppress(Exception), opened(case, pool) as engine, engine.runtime.context():
        engine.outputs(seconds)
