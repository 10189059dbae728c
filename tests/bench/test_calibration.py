"""The two fixed pieces of work that show the speed of the machine."""

import os
import subprocess
import sys
from itertools import accumulate, chain, cycle

import pytest

from bench import calibration
from bench.calibration import calibrate, calibrate_briefly, mean, median
from study.records.bench import Calibration
from tests.conftest import ROOT


def test_a_brief_one_is_the_fastest_turn_of_each_kind_and_gives_the_caches_time_to_fill() -> None:
    durations = [5.0, 2.0, 3.0, 24.4, 12.7, 11.3, 8.2, 7.5, 7.1, *[7.1] * 5, 7.0]
    clock = chain.from_iterable((end - one, end) for one, end in zip(durations, accumulate(durations), strict=True))
    found = calibrate_briefly(lambda: next(clock))
    assert found == Calibration(arithmetic_seconds=2, memory_seconds=7)


def test_the_longer_one_withstands_interruptions() -> None:
    """Every fourth turn is interrupted: by three turns in a row a brief one could be, by half of all no longer one."""
    durations = cycle([1.0, 1.0, 1.0, 100.0])
    now = [0.0]

    def clock(moments: list[int] = [0]) -> float:  # noqa: B006  counts its calls
        moments[0] += 1
        if moments[0] % 2 == 0:
            now[0] += next(durations)
        return now[0]

    assert calibrate(clock) == Calibration(arithmetic_seconds=1, memory_seconds=1)


def test_means_and_medians_are_of_each_kind() -> None:
    one, other, third = (
        Calibration(arithmetic_seconds=a, memory_seconds=m) for a, m in ((1.0, 9.0), (4.0, 1.0), (3.0, 2.0))
    )
    assert mean(one, other) == Calibration(arithmetic_seconds=2, memory_seconds=3)
    assert median([one, other, third]) == Calibration(arithmetic_seconds=3, memory_seconds=2)


def test_memory_exceeds_the_second_cache_and_arithmetic_stays_in_the_first() -> None:
    assert calibration._buffer().nbytes == 2**22
    assert 2 * calibration._MATRIX.nbytes < 2**15


def test_it_uses_one_thread_where_numpy_may_use_four() -> None:
    script = """
import time
from bench.calibration import calibrate
calibrate()
time.sleep(0.3)  # new threads of OpenBLAS spin for a while
process, thread = time.process_time(), time.thread_time()
for _ in range(20):
    calibrate()
print((time.process_time() - process) / (time.thread_time() - thread))
"""
    four = dict.fromkeys(("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"), "4")
    output = subprocess.check_output([sys.executable, "-c", script], cwd=ROOT, env={**os.environ, **four})
    assert float(output) == pytest.approx(1, abs=0.02)
