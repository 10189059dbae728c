"""What the command line of `pytest bench` asks for."""

import math
import os
from argparse import Namespace
from collections.abc import Sequence

from bench import models
from bench.cases import find_cases, find_pairs, opened
from bench.percentiles import FEWEST_SAMPLES
from bench.sampling import Budget
from bench.session import Session, surroundings
from study.artifacts import Artifacts
from study.data import datasets
from study.environment import usable_cores
from study.errors import StudyError
from study.onnx_inputs import parse_shapes
from study.selection import selected

FEWEST_COLD_STARTS = 5


def find_session(option: Namespace, words: Sequence[str]) -> Session:
    """What the command line asks for.

    Raises:
        StudyError: it asks for what is not there.
    """
    _refuse(option)
    threads = _threads(option.threads)
    limit_threads(max(threads))
    budget = Budget(
        option.seconds,
        _percentiles(option.percentiles),
        cold_starts=option.cold_starts,
        loads=1 if option.quick else Budget.loads,
        quick=option.quick,
    )
    if not 0 < budget.seconds < math.inf or option.processes < 1:
        raise StudyError("expected --seconds above 0 and --processes from 1")
    if budget.cold_starts != 0 and budget.cold_starts < (1 if budget.quick else FEWEST_COLD_STARTS):
        raise StudyError(f"--cold-starts: expected 0 or at least {FEWEST_COLD_STARTS}, found {budget.cold_starts}")
    cases = find_cases(
        _models(option),
        list(dict.fromkeys(option.runtimes.split(","))),
        _numbers("batches", option.batches),
        threads,
        option.mode,
        option.device,
    )
    names = [str(case) for case in cases]
    if twice := next((name for name in names if names.count(name) > 1), None):
        raise StudyError(f"{twice} is asked for twice; give ONNX files different names")
    for case in {case.runtime: case for case in cases if case.device != "cpu"}.values():
        with opened(case, []):  # a GPU that is not there is told before anything is measured
            pass
    starting = {(case.model.name, case.runtime): case for case in reversed(cases)} if budget.cold_starts else {}
    return Session(
        cases,
        find_pairs(cases),
        list(reversed(starting.values())),
        budget,
        option.processes,
        words,
        surroundings(cases),
    )


def _refuse(option: Namespace) -> None:
    """Options of other plugins with which nothing would be measured, or something else."""
    if option.benchmark_disable:
        raise StudyError("--benchmark-disable leaves nothing to measure; leave it out, or try --quick")
    if option.benchmark_cprofile is not None:
        raise StudyError("--benchmark-cprofile would be in the latency; profile a script of your own")
    if str(option.benchmark_timer) != "time.perf_counter":
        raise StudyError(f"--benchmark-timer: expected time.perf_counter, found {option.benchmark_timer}")
    if getattr(option, "dist", "no") != "no" or os.environ.get("PYTEST_XDIST_WORKER"):
        raise StudyError("several pytest workers would be in each other's way; leave out -n and --dist")


def _models(option: Namespace) -> list[models.Model]:
    """Those of the catalogue, if they are asked for or no file is, and the user's files."""
    found = []
    if option.models is not None or not option.onnx:
        artifacts = Artifacts(option.artifacts)
        entries = selected(option, [name for name in (option.models or "").split(",") if name])
        variants = dict.fromkeys(option.variants.split(","))
        found = [models.from_catalogue(artifacts, entry, variant) for entry in entries for variant in variants]
        if not option.collectonly:
            datasets.prepare((entry.dataset for entry in entries), artifacts.data, option.data)
    if option.shape and not option.onnx:
        raise StudyError("--shape is for the inputs of a file given with --onnx")
    shapes = parse_shapes(option.shape)
    return found + [models.from_file(path, shapes) for path in option.onnx]


def limit_threads(threads: int) -> None:
    """Set what OpenMP reads once, when torch is loaded: how many threads there can be, and that idle ones sleep."""
    os.environ["OMP_NUM_THREADS"] = str(threads)
    os.environ["OMP_WAIT_POLICY"] = "PASSIVE"


def _threads(text: str) -> list[int]:
    usable = usable_cores()
    if text == "all":
        return [usable]
    numbers = _numbers("threads", text)
    if max(numbers) > usable:
        raise StudyError(f"--threads: expected at most the {usable} cores this process may use, found {max(numbers)}")
    return numbers


def _numbers(option: str, text: str) -> list[int]:
    words = list(dict.fromkeys(text.split(",")))
    if not all(word.isdecimal() and int(word) > 0 for word in words):
        raise StudyError(f"--{option}: expected numbers from 1 with commas between them, found {text!r}")
    return [int(word) for word in words]


def _percentiles(text: str) -> tuple[float, ...]:
    known = {f"{percent:g}": percent for percent in FEWEST_SAMPLES}
    words = text.split(",")
    if not set(words) <= known.keys():
        raise StudyError(f"--percentiles: expected some of {','.join(known)}, found {text!r}")
    return tuple(known[word] for word in words)
