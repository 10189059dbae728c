"""Worker processes: what they send, and what a session survives."""

import os
import signal
import sys
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import pytest

from bench.full_speed import SlowMachineError
from bench.measure import Process
from bench.processes import run
from bench.sampling import Budget, TooSlowError
from bench.worker import Job, Message, harness_overhead
from study.errors import StudyError
from study.records.bench import CaseKey


@dataclass(frozen=True)
class Fake:
    """A task that does in the worker process what its name says."""

    name: str
    alone: bool = False
    """Whether this is the same without the reference."""

    @property
    def key(self) -> CaseKey:
        raise NotImplementedError

    def measure(self, process: Process) -> Any:
        what = self.name.split()[0]
        if what == "signal" or (what == "reference" and not self.alone):
            os.kill(os.getpid(), signal.SIGSEGV)
        if what == "exit":
            print("some words of an engine\nthe last words", file=sys.stderr, flush=True)
            os._exit(3)
        if what == "wrong":
            raise StudyError("its outputs differ")
        if what == "waiting" and process.postpone:
            raise SlowMachineError
        if what == "slow":
            raise TooSlowError("it takes an hour")
        return SimpleNamespace(process=SimpleNamespace(valid=what != "disturbed"), pid=os.getpid(), what=self.name)

    def without_reference(self) -> "Fake | None":
        return Fake(self.name, alone=True) if self.name == "reference" and not self.alone else None


def messages(*names: str, again: bool = True) -> list[Message]:
    tasks = tuple(map(Fake, names))
    return [one for one in run(Job(tasks, Process(1, Budget(), 7), again)) if one.name]


def ended(given: list[Message]) -> dict[str, str]:
    """How each task ended."""
    return {one.name: one.failed or one.left_out or one.result.what for one in given if not one.began}


def test_one_fresh_process_measures_everything_in_an_order_of_its_own() -> None:
    names = [f"sound {n}" for n in range(12)]
    given = messages(*names)
    results = [one.result for one in given if not one.began]
    assert {result.pid for result in results}.isdisjoint({os.getpid()})
    assert len({result.pid for result in results}) == 1
    assert [one.name for one in given[::2]] == [one.name for one in given[1::2]], "each begins, then ends"
    assert sorted(one.name for one in given if one.began) == sorted(names)
    assert [one.name for one in given if one.began] != names


def test_the_peak_is_measured_after_everything_else_with_each_number_of_threads() -> None:
    *earlier, last = run(Job((Fake("sound"),), Process(1, Budget(quick=True), 7), again=False, peaks=(1, 2)))
    assert [one.matrix_products for one in earlier] == [()] * 3
    assert [one.threads for one in last.matrix_products] == [1, 2]
    assert all(one.flops_per_second > 0 for one in last.matrix_products)


def test_what_the_machine_disturbed_is_measured_once_more_at_the_end() -> None:
    assert [one.name for one in messages("disturbed", "sound") if one.began][-1] == "disturbed"
    assert len(messages("disturbed", "sound")) == 6
    assert len(messages("disturbed", "sound", again=False)) == 4


def test_what_waited_for_full_speed_in_vain_is_measured_at_the_end() -> None:
    given = messages("waiting", "sound 1", "sound 2")
    assert [one.name for one in given if one.began][-1] == "waiting"
    assert ended(given) == {name: name for name in ("waiting", "sound 1", "sound 2")}


def test_what_fails_does_not_lose_the_rest() -> None:
    assert ended(messages("wrong", "slow", "sound 1", "signal", "exit", "sound 2")) == {
        "wrong": "its outputs differ",
        "slow": "it takes an hour",
        "signal": "signal: the engine crashes with SIGSEGV",
        "exit": "exit: the process ended with code 3: the last words",
        "sound 1": "sound 1",
        "sound 2": "sound 2",
    }


def test_a_crash_of_the_engine_it_is_compared_with_does_not_fail_it() -> None:
    assert ended(messages("reference", "sound")) == {"reference": "reference", "sound": "sound"}


def test_an_interrupted_session_ends_its_worker() -> None:
    given = run(Job((Fake("sound 1"), Fake("sound 2")), Process(1, Budget(), 7)))
    pid = next(one.result.pid for one in given if one.result)
    given.close()
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


def test_the_overhead_of_the_harness_is_that_of_a_callable_that_does_nothing() -> None:
    assert 0 < harness_overhead() < 1e-5
