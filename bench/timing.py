"""The clock around each call: the one loop that every latency here comes from."""

import time
from collections.abc import Callable, Iterator
from typing import Any


def timed_calls(call: Callable[[Any], object], inputs: Iterator[Any], calls: int) -> list[float]:
    """Seconds of each of so many calls; outputs are freed outside of the timing."""
    clock = time.perf_counter
    seconds = []
    for _ in range(calls):
        given = next(inputs)
        before = clock()
        result = call(given)
        after = clock()
        del result
        seconds.append(after - before)
    return seconds
