"""The option --cpus: what it refuses, and that a pinned process and its threads stay on its cores."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from bench.machine.cpus import chosen_cpus, most_threads, shown
from study.errors import StudyError
from tests.conftest import ROOT
from tests.support.machines import allow, lay_out, pairs_of_threads


def test_the_cores_of_the_option(monkeypatch: pytest.MonkeyPatch) -> None:
    allow(monkeypatch, 0, 1, 2, 3, 8)
    assert chosen_cpus(None) is None
    assert chosen_cpus("2") == frozenset({2})
    assert chosen_cpus("8,1-3") == frozenset({1, 2, 3, 8})
    for text, message in (
        ("4,9", "--cpus: expected some of the cores that this process may run on, 0-3,8; found 4,9"),
        ("two", "--cpus: expected numbers and ranges such as 0-3,8; found 'two'"),
        ("", "--cpus: expected numbers and ranges such as 0-3,8; found ''"),
    ):
        with pytest.raises(StudyError) as refusal:
            chosen_cpus(text)
        assert str(refusal.value) == message


def test_a_system_without_affinity_refuses_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)
    assert chosen_cpus(None) is None
    with pytest.raises(StudyError, match="--cpus: this system does not let a process choose its cores; leave it out"):
        chosen_cpus("0")


def test_threads_need_physical_cores(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    allow(monkeypatch, 0, 1, 2, 3)
    lay_out(tmp_path, pairs_of_threads((0, 2), (1, 3)))
    assert most_threads(None, tmp_path) == 2
    assert most_threads({0, 2}, tmp_path) == 1, "two threads of one core"
    assert most_threads({0, 1}, tmp_path) == 2


def test_a_list_of_cores_in_words() -> None:
    assert shown({3, 1, 2, 8, 10, 11}) == "1-3,8,10-11"
    assert shown([5]) == "5"


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="only Linux pins processes")
def test_a_pinned_process_its_threads_and_its_children_stay_there() -> None:
    core = min(os.sched_getaffinity(0))
    script = f"""
import os, subprocess, sys, threading
from bench.machine.cpus import pin
pin({{{core}}})
cores = [os.sched_getaffinity(0)]
thread = threading.Thread(target=lambda: cores.append(os.sched_getaffinity(0)))
thread.start(); thread.join()
child = subprocess.check_output([sys.executable, "-c", "import os; print(os.sched_getaffinity(0))"], text=True)
print(cores, child)
pin(None)
"""
    output = subprocess.check_output([sys.executable, "-c", script], cwd=ROOT, text=True)
    assert output.split() == f"[{{{core}}}, {{{core}}}] {{{core}}}".split()
