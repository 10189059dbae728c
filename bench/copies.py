"""An engine that is loaded by itself, in a place as it would have among others.

Blocks of memory that are held (`bench.placement`) do not keep an engine from the very memory that its predecessor had,
since nothing fits as well. Each load of a process then is as fast or slow as the first. One of four engines that are
loaded at once, as in a comparison, has other memory, and the two measurements contradicted each other: eager PyTorch
with one image was 2 % slower in its cases than in comparisons.
"""

import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager

import numpy as np

from bench.cases import Case, Engine, opened
from bench.models import Inputs
from bench.placement import elsewhere

COPIES, COPIES_SECONDS = 3, 0.1
"""Most copies that are loaded before an engine, and time after which no further one is."""


@contextmanager
def opened_among_copies(
    case: Case, pool: Sequence[Inputs], generator: np.random.Generator, most: int = COPIES
) -> Iterator[Engine]:
    """The engine of a case, loaded behind a random number of copies, which are closed before it is used.

    Raises:
        StudyError: as `opened`.
    """
    with elsewhere(generator), ExitStack() as opening:
        with ExitStack() as copies:
            until = time.perf_counter() + COPIES_SECONDS
            for _ in range(int(generator.integers(most + 1))):
                if time.perf_counter() < until:
                    copies.enter_context(opened(case, pool))
            engine = opening.enter_context(opened(case, pool))
        yield engine
