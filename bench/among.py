"""An engine of a case, loaded among others as in a comparison.

Its speed depends on where in memory it lies, and so on what is loaded beside it. An engine that is loaded alone gets
the memory that the one before it has freed, even if other blocks are held (`bench.placement`). An AOTInductor model
then took 3 % less time (`python -m bench.experiments places`). So a case is loaded beside what a comparison would load;
otherwise the two measurements would contradict each other.
"""

import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace

import numpy as np

from bench.cases import Case, Engine, opened
from bench.models import Inputs
from bench.parity import Expected
from bench.placement import elsewhere

SECONDS = 0.1
"""Time after which no other engine is loaded."""


def beside(case: Case, wanted: Expected | None) -> list[Case]:
    """What is loaded beside a case: as in a comparison, a second load, and two of the engine it is checked against."""
    own = replace(case, against=())
    return [own, *[replace(own, runtime=wanted.runtime)] * 2] if wanted else [own]


@contextmanager
def opened_among(
    case: Case, others: Sequence[Case], pool: Sequence[Inputs], generator: np.random.Generator
) -> Iterator[Engine]:
    """The engine of a case, loaded with these others in random order; they stay, and nothing calls them.

    Raises:
        StudyError: as `opened`.
    """
    with ExitStack() as stack:
        until, cases, engines = time.perf_counter() + SECONDS, [case, *others], {}
        for i in map(int, generator.permutation(len(cases))):
            if i == 0 or time.perf_counter() < until:
                stack.enter_context(elsewhere(generator))
                engines[i] = stack.enter_context(opened(cases[i], pool))
        yield engines[0]
