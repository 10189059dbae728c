"""Each load of a model gets another place in memory.

Otherwise it reuses the memory that was just freed, and is as fast or slow there each time (Curtsinger & Berger,
Stabilizer: Statistically Sound Performance Evaluation, ASPLOS 2013).
"""

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np

BLOCKS, BLOCK_BYTES = 32, 100_000
"""Blocks of memory that are held during a load, and the most bytes of each."""


@contextmanager
def elsewhere(generator: np.random.Generator) -> Iterator[None]:
    """Hold memory in blocks of random sizes."""
    held = [bytearray(int(size)) for size in generator.integers(1, BLOCK_BYTES, BLOCKS)]
    yield
    del held
