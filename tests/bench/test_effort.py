"""The effort of a session from the results of a pilot, by hand."""

from types import SimpleNamespace
from typing import Any

import pytest

from bench.effort import costs_of
from bench.measure import CaseOnce
from tests.support import records


def case_once(samples: list[float], load_seconds: float, seconds: float) -> CaseOnce:
    """A case in one process, half of the calls in each of two loads."""
    return CaseOnce(
        process=records.case_process(1, samples[0]),
        samples=samples,
        parity=None,
        output_reasons=(),
        settings={},
        threads_read_back=1,
        inputs_sha256="",
        input_shapes={},
        loads=[len(samples) // 2] * 2,
        load_seconds=load_seconds,
        seconds=seconds,
    )


def test_what_a_process_costs_beside_loads_and_calls_are_its_start_and_the_checks() -> None:
    first = case_once([0.1] * 10, load_seconds=0.2, seconds=5.4)  # 4 s of checks: the outputs of the whole pool
    second = case_once([0.1] * 10, load_seconds=0.4, seconds=2.1)  # 0.3 s
    found = costs_of([first, second], start_seconds=0.05)
    assert (found.call, found.load, found.process) == pytest.approx((0.1, 0.3, 0.05 + 0.3))


def test_of_a_comparison_a_block_is_a_call_and_a_round_a_load() -> None:
    process = SimpleNamespace(rounds=4, blocks=12)
    once: Any = SimpleNamespace(process=process, block_seconds=0.02, load_seconds=0.05, seconds=0.54)
    found = costs_of([once], start_seconds=0.1)
    assert (found.call, found.load, found.process) == pytest.approx((0.02, 0.05, 0.1 + 0.1))
