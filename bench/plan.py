"""The options of `pytest bench`: which cases, pairs and budget a command line means."""

import math
import os
from argparse import ArgumentTypeError, Namespace
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from bench import models
from bench.best import find_families
from bench.cases import MODES, Case, find_cases, find_pairs, opened, refusal
from bench.chosen import chosen_models
from bench.machine.cpus import chosen_cpus, most_threads
from bench.profile.measure import find_profiles, without_profiler
from bench.randomness import refuse_random
from bench.runtimes import DEFAULT, DEVICES, RUNTIMES, find
from bench.sampling import Budget
from bench.scenarios.options import add_scenario_options, scenario_notes, scenario_tasks
from bench.session import Session
from bench.shares import share
from bench.statistics.estimates import FEWEST_PROCESSES
from bench.statistics.percentiles import FEWEST_SAMPLES
from bench.surroundings import surroundings
from study.artifacts import DEFAULT_ROOT
from study.errors import StudyError
from study.families import FAMILIES, family
from study.modules.options import add_module_options
from study.selection import add_options
from study.verified import verified_module

FEWEST_COLD_STARTS = 5
BEST = "best"
"""In `--runtimes`: what best against best chooses from."""
NOT_FOR_ALL = ("torch-sparse",)
"""Settings that do not run every network, which are named if they are wanted."""


def add_bench_options(add: Callable[..., Any]) -> None:
    """Add the options with `add`, the method of pytest or of an argument parser."""
    add("--models", default=None, metavar="A,B", help="models of the catalogue (default: the study's)")
    add_options(add)
    add(
        "--variants",
        default="standard",
        metavar="A,B",
        help="their exports, such as standard,int8-static (default: %(default)s)",
    )
    add("--export", action="store_true", help="export them first, if that is missing or stale")
    add("--onnx", nargs="+", action="extend", default=[], type=Path, metavar="FILE", help="ONNX files instead")
    add("--shape", action="append", default=[], metavar="NAME=N,M", help="shape of an input of these files")
    add(
        "--input",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="its value, 16000, or range, 0..30521; of a module also its type and shape, ids=int64[batch,n]:0..9",
    )
    add_module_options(add, inputs=False)
    add("--feed", action="append", default=[], type=Path, metavar="FILE.npz", help="arrays for a call, by input")
    known = ", ".join(RUNTIMES)
    help_text = f"{known}; your own package.module:Class; or best: every one of PyTorch and ONNX Runtime"
    add("--runtimes", default=",".join(DEFAULT), metavar="A,B", help=help_text)
    add("--batches", default="1,32,256", metavar="N,M", help="images per call (default: %(default)s)")
    add(
        "--threads",
        default="1",
        metavar="N,M",
        help="intra-op threads, verified after they are set; all: one a physical core",
    )
    add("--cpus", default=None, metavar="N,M-K", help="cores that the measuring processes run on (default: any)")
    add("--mode", default="native", choices=MODES, help="native: the engine's own types; numpy: with conversion")
    add("--device", default="cpu", choices=DEVICES, help="default: %(default)s")
    add(
        "--seconds",
        default=Budget.seconds,
        type=float,
        metavar="S",
        help="time for the calls of a case, three times that for a comparison; none takes over 60 times this",
    )
    add(
        "--percentiles",
        default="50,90,95",
        metavar="P,Q",
        help="that each case must have, up to 99.9; the others where the calls suffice",
    )
    add("--profile", action="store_true", help="then profile the operators of each case, in a process of its own")
    add("--cold-starts", default=5, type=int, metavar="N", help="fresh processes per model and runtime; 0: none")
    add(
        "--processes",
        type=int,
        metavar="N",
        help=f"fresh processes that measure everything, the unit of intervals; {FEWEST_PROCESSES} or more",
    )
    add("--precision", metavar="1%", help="as many processes as the ratios need for intervals of +-1%%")
    add("--margin", default="2%", metavar="2%", help="differences that count as none (default: 2%%)")
    add_scenario_options(add)
    add("--artifacts", default=DEFAULT_ROOT, type=Path, metavar="DIR", help="default: %(default)s")
    add("--data", default=None, type=Path, metavar="DIR", help="folder with the files of the data sets")
    add("--quick", action="store_true", help="a smoke test: few samples, marked as not valid")


def find_session(option: Namespace, words: Sequence[str]) -> Session:
    """The session that the command line describes.

    Raises:
        StudyError: an option is wrong, or a model, file, engine or device is missing.
    """
    _refuse(option)
    cpus = chosen_cpus(option.cpus)
    threads = _threads(option.threads, cpus)
    limit_threads(max(threads))
    processes = FEWEST_PROCESSES if option.processes is None else option.processes
    budget = Budget(
        option.seconds,
        _percentiles(option.percentiles),
        processes=1 if option.quick else processes,
        cold_starts=option.cold_starts,
        quick=option.quick,
    )
    if not 0 < budget.seconds < math.inf:
        raise StudyError(f"--seconds: expected a number above 0, found {budget.seconds:g}")
    if processes < FEWEST_PROCESSES:
        raise StudyError(f"--processes: expected at least {FEWEST_PROCESSES}, found {processes}; see --quick")
    if option.precision is not None and option.processes is not None:
        raise StudyError("--precision decides on the number of processes; leave out --processes")
    if budget.cold_starts != 0 and budget.cold_starts < (1 if budget.quick else FEWEST_COLD_STARTS):
        raise StudyError(f"--cold-starts: expected 0 or at least {FEWEST_COLD_STARTS}, found {budget.cold_starts}")
    margin = _share("--margin", option.margin)
    precision = None if option.precision is None else _share("--precision", option.precision)
    chosen, runtimes = chosen_models(option), _runtimes(option.runtimes, option.device, option.quick)
    batches = _numbers("batches", option.batches)
    cases = find_cases(chosen, runtimes, batches, threads, option.mode, option.device)
    refuse_random(cases)
    names = [str(case) for case in cases]
    if twice := next((name for name in names if names.count(name) > 1), None):
        raise StudyError(f"{twice} would be measured twice; give the ONNX files different names")
    for case in {case.runtime: case for case in cases if case.device != "cpu"}.values():
        with opened(case, []):  # fails before anything is measured if there is no GPU
            pass
    loads = scenario_tasks(option, cases, _numbers("streams", option.streams))
    notes = [*_of_modules(chosen), *_left_out(cases, chosen, runtimes), *_fixed(cases, batches), *_drawn(cases)]
    notes += scenario_notes(loads, cpus)
    if loads and option.profile:
        raise StudyError("--profile is of single calls; leave it out with --scenario")
    if loads:
        return Session([], [], [], budget, surroundings(cases, words), cpus=cpus, scenarios=loads, notes=notes)
    starting = {(case.model.name, case.runtime): case for case in reversed(cases)} if budget.cold_starts else {}
    families = find_families(cases)
    if option.quick:
        families = []  # the pilot chooses among them
    profiling = find_profiles(cases) if option.profile else []
    if option.profile:
        notes = [*notes, *without_profiler(cases)]
    return Session(
        cases,
        find_pairs(cases),
        list(reversed(starting.values())),
        budget,
        surroundings(cases, words, cpus),
        margin,
        precision=precision,
        cpus=cpus,
        notes=notes,
        families=families,
        profiling=profiling,
    )


def _runtimes(text: str, device: str, quick: bool) -> list[str]:
    """The runtimes of `--runtimes`; `best` stands for every setting of PyTorch and of ONNX Runtime on this device."""
    words = text.split(",")
    if BEST in words and quick:
        raise StudyError(f"--runtimes {BEST}: a pilot chooses it, and --quick has none; leave out --quick")
    every = [name for name in RUNTIMES if family(name) in FAMILIES and name not in NOT_FOR_ALL] if BEST in words else []
    best = [name for name in every if device == "cpu" or device in find(name).devices]
    return list(dict.fromkeys(name for word in words for name in (best if word == BEST else [word])))


def _left_out(cases: Sequence[Case], chosen: Sequence[models.Model], runtimes: Sequence[str]) -> list[str]:
    """The runtimes that do not run some of the models."""
    measured = {(case.model.name, case.runtime) for case in cases}
    lines = []
    for name in runtimes:
        missing = [one for one in chosen if (one.name, name) not in measured]
        refused = [reason for one in missing if one.in_torch and (reason := refusal(find(name), one))]
        lines += [f"{name} is left out: {reason}" for reason in refused]
        if names := [one.name for one in missing if not one.in_torch]:
            only = "it runs only what a checkpoint of the catalogue or a module computes"
            other = "onnx2fx and onnx2torch make torch modules of ONNX files"
            lines.append(f"{name} is left out for {', '.join(names)}: {only} ({other})")
    return lines


def _of_modules(chosen: Sequence[models.Model]) -> list[str]:
    """What a reader must know of the modules: above all that weights are random."""
    return [f"{one.name}: {note}" for one in chosen if one.module for note in verified_module(one.module).notes]


def _fixed(cases: Sequence[Case], batches: Sequence[int]) -> list[str]:
    """The models whose own batch size is measured instead of those asked for."""
    fixed = {case.model.name: case.batch for case in cases if len(case.model.batch_sizes(batches)) == 1}
    return [
        f"{name}: its inputs are fixed at batch {size}, not measured at {', '.join(map(str, others))}"
        for name, size in fixed.items()
        if (others := [batch for batch in batches if batch != size])
    ]


def _drawn(cases: Sequence[Case]) -> list[str]:
    """The inputs that were drawn although their values may matter."""
    first = {case.model.name: case for case in reversed(cases)}
    return [
        f"{name}: inputs drawn: {', '.join(choices)}; give others with --input NAME=VALUE or --feed FILE.npz"
        for name, case in first.items()
        if (choices := case.model.choices(case.batch))
    ]


def _refuse(option: Namespace) -> None:
    """Refuse options of other plugins that would prevent or distort the measurements."""
    if option.benchmark_disable:
        raise StudyError("--benchmark-disable leaves nothing to measure; leave it out, or try --quick")
    if option.benchmark_cprofile is not None:
        raise StudyError("--benchmark-cprofile would add to the latency; profile a script of your own")
    if str(option.benchmark_timer) != "time.perf_counter":
        raise StudyError(f"--benchmark-timer: expected time.perf_counter, found {option.benchmark_timer}")
    if getattr(option, "dist", "no") != "no" or os.environ.get("PYTEST_XDIST_WORKER"):
        raise StudyError("several pytest workers would slow each other down; leave out -n and --dist")


def limit_threads(threads: int) -> None:
    """Set the variables that OpenMP reads when torch is imported: the largest number of threads, no spin-waiting."""
    os.environ["OMP_NUM_THREADS"] = str(threads)
    os.environ["OMP_WAIT_POLICY"] = "PASSIVE"


def _threads(text: str, cpus: frozenset[int] | None = None) -> list[int]:
    usable = most_threads(cpus)
    if text == "all":
        return [usable]
    numbers = _numbers("threads", text)
    if max(numbers) > usable:
        raise StudyError(f"--threads: expected at most the {usable} cores this process may use, found {max(numbers)}")
    return numbers


def _share(option: str, text: str) -> float:
    try:
        value = share(text)
    except ArgumentTypeError as error:
        raise StudyError(f"{option}: {error}") from None
    if not 0 < value < 1:
        raise StudyError(f"{option}: expected more than 0 and less than 100%, found {text!r}")
    return value


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
