"""An engine of a case, loaded among others as in a comparison.

Its speed depends on where in memory it lies, and so on what is loaded beside it. By itself it takes the memory that its
predecessor has freed, whatever blocks are held (`bench.placement`), since nothing fits as well: eager PyTorch with one
image then took up to 2 % longer. So a case is loaded beside what a comparison would load, or the two measurements
contradict each other.
"""

import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager

import numpy as np

from bench.cases import Case, Engine, opened
from bench.models import Inputs
from bench.placement import elsewhere

SECONDS = 0.1
"""Time after which no other engine is loaded."""


@contextmanager
def opened_among(
    case: Case, others: Sequence[Case], pool: Sequence[Inputs], generator: np.random.Generator
) -> Iterator[Engine]:
    """The engine of a case, loaded with these others in random order; they stay, and nothing calls them.

    Raises:
        StudyError: as `opened`.
    """
    with ExitStack() as stack:
        until = time.perf_counter() + SECONDS
        for i in generator.permutation(1 + len(others)):
            if i == 0:
                stack.enter_context(elsewhere(generator))
                engine = stack.enter_context(opened(case, pool))
            elif time.perf_counter() < until:
                stack.enter_context(elsewhere(generator))
                stack.enter_context(opened(others[i - 1], pool))
        yield engine
