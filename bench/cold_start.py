"""The cost of the first inference: time and memory of import, load and first call, in fresh processes.

`measure` starts the processes; each runs this module, which does the three steps and prints their time and memory.
numpy and the project's own modules are imported before the clock starts, and the files are in the page cache.
"""

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Collection
from contextlib import suppress
from dataclasses import replace
from importlib import import_module
from itertools import pairwise
from pathlib import Path
from typing import Any

from bench import runtimes
from bench.arrays import load_inputs, save_inputs
from bench.cases import Case
from bench.machine.cpus import chosen_cpus, pin, shown
from bench.machine.interference import external_disturbances, monitor
from bench.models import Model
from bench.runtimes.conversions import verify_all
from bench.sampling import Budget, TooSlowError
from bench.session_folder import folder as session_folder
from study import children
from study.artifacts import RunFiles
from study.catalogue import Entry
from study.command_line import Parser
from study.errors import StudyError, exit_with
from study.modules.files import ModuleFiles
from study.onnx_given import Given, parse_shapes, parse_sizes
from study.recipe import Recipe
from study.records.bench import ColdStartRecord, Range
from study.verified import verified_checkpoint, verified_module

PROJECT = Path(__file__).resolve().parent.parent
LATER_CALLS, LATER_SECONDS = 20, 2.0
"""Number of calls after the first, during which some engines still allocate; none begins after so many seconds."""
SHORTEST_LIMIT, COMPILING_LIMIT = 60.0, 600.0
"""Seconds for each process, even if the time for a measurement is shorter, and for one of an engine that compiles."""
SECONDS = ("import_seconds", "load_seconds", "first_call_seconds", "total_seconds")
BYTES = ("import_bytes", "load_bytes", "run_bytes", "peak_bytes")
QUANTITIES = (*SECONDS, *BYTES)


def measure(case: Case, budget: Budget, cpus: Collection[int] | None = None) -> ColdStartRecord:
    """The record of the cold start of a case, from fresh processes: as many as the budget has, or as fit.

    Args:
        cpus: the cores that they run on; None: any.

    Raises:
        StudyError: a process failed; the message ends with its last line of output.
        TooSlowError: not even one process ended in the time for all of them.
    """
    wanted = 1 if budget.quick else budget.cold_starts
    compiles = getattr(runtimes.find(case.runtime), "compiles", False)
    most = max(budget.most_seconds, COMPILING_LIMIT if compiles else SHORTEST_LIMIT) * wanted
    if prepare := getattr(runtimes.find(case.runtime), "prepare", None):
        prepare(case.model)
    with tempfile.TemporaryDirectory(dir=session_folder()) as folder:
        given = Path(folder) / "inputs.npz"
        save_inputs(given, case.model.pool(case.batch)[:1])
        if compiles:  # once for the session, by a process that does not count: the others find the compiled files
            with suppress(subprocess.TimeoutExpired):
                _in_fresh_process(case, given, COMPILING_LIMIT, cpus)
        with monitor(cpus) as monitored:
            results = _in_fresh_processes(case, given, wanted, most, cpus)
    if not results:
        raise TooSlowError(f"no cold start ended within {most:.0f} s; give --cold-starts 0 or a longer --seconds")
    reasons = external_disturbances(monitored.interference)
    if budget.quick:
        reasons.insert(0, "a quick run: 1 process is only a smoke test; leave out --quick")
    elif len(results) < wanted:
        reasons.insert(0, f"{len(results)} of {wanted} cold starts ended within {most:.0f} s; give a longer --seconds")
    return ColdStartRecord(
        key=replace(case, mode="native").key,
        processes=len(results),
        machine=monitored.interference.machine,
        quick=budget.quick,
        valid=not reasons,
        reasons=tuple(reasons),
        **{name: _range([one[name] for one in results]) for name in QUANTITIES},
    )


def _in_fresh_processes(
    case: Case, given: Path, wanted: int, most_seconds: float, cpus: Collection[int] | None
) -> list[dict[str, float]]:
    """The results of `wanted` processes, or of those that end within `most_seconds`."""
    results: list[dict[str, float]] = []
    until = time.monotonic() + most_seconds
    with suppress(subprocess.TimeoutExpired):  # which has ended the process
        while len(results) < wanted and (left := until - time.monotonic()) > 0:
            results.append(_in_fresh_process(case, given, left, cpus))
    return results


def _range(values: list[float]) -> Range:
    return Range(median=statistics.median(values), lowest=min(values), highest=max(values), values=tuple(values))


def _in_fresh_process(case: Case, given: Path, timeout: float, cpus: Collection[int] | None = None) -> dict[str, float]:
    words = ["--runtime", case.runtime, "--threads", str(case.threads), "--device", case.device]
    words += ["--onnx", str(case.model.onnx.absolute()), "--sha256", case.model.onnx_sha256, "--inputs", str(given)]
    words += ["--batch", str(case.batch)]
    words += ["--cpus", shown(cpus)] if cpus else []
    for name, shape in case.model.given.shapes.items():
        words += ["--shape", f"{name}={','.join(map(str, shape))}"]
    words += [word for name, size in case.model.given.sizes.items() for word in ("--size", f"{name}={size}")]
    if case.model.module:
        words += ["--module", str(case.model.module.folder.resolve())]
    if case.model.run:
        assert case.model.entry is not None
        words += ["--model", case.model.name, "--network", case.model.entry.network]
        words += ["--run", str(case.model.run.folder.resolve())]
    command = [sys.executable, "-m", "bench.cold_start", *words]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(PROJECT), *sys.path])}
    environment["OPENBLAS_NUM_THREADS"] = "1"  # otherwise its threads spin for a while after numpy is imported
    pipe = subprocess.PIPE
    done = children.run(command, timeout, stdout=pipe, stderr=pipe, text=True, cwd=PROJECT, env=environment)
    if done.returncode:
        reason = (done.stderr.strip().splitlines() or ["no message"])[-1]
        raise StudyError(f"{case}: its cold start failed with exit code {done.returncode}: {reason}")
    result: dict[str, float] = json.loads(done.stdout.strip().splitlines()[-1])
    return result


def main(words: list[str] | None = None) -> int:
    """Measure one cold start and print a JSON object of seconds and bytes."""
    options = _arguments(words)
    pin(chosen_cpus(options.cpus))
    (inputs,) = load_inputs(options.inputs)
    entry = Entry(options.model, options.network, Recipe()) if options.model else None
    run = RunFiles(options.run, options.model, int(options.run.name[4:])) if options.model else None
    shapes = Given(parse_shapes(options.shape), sizes=parse_sizes(options.size))
    module = ModuleFiles(options.module) if options.module else None
    name = options.model or options.onnx.stem
    model = Model(name, options.onnx, options.sha256, entry, run, given=shapes, module=module)
    if run:
        verified_checkpoint(run)  # which is the harness's precaution, no part of loading
    if module:
        verified_module(module)
    verify_all()
    setting = runtimes.Setting(options.threads, options.device, batch=options.batch)
    engines = runtimes.RUNTIMES.get(options.runtime, options.runtime).partition(":")[0]

    seconds: list[float] = []
    _reset_peak()
    peaks = [_peak_bytes()]

    def timed(step: Callable[[], Any]) -> Any:
        begin = time.perf_counter()
        result = step()
        seconds.append(time.perf_counter() - begin)
        peaks.append(_peak_bytes())
        return result

    timed(lambda: import_module(engines))
    engine = timed(lambda: runtimes.find(options.runtime)(model, setting))
    with engine.context():
        native = engine.to_native(inputs)
        timed(lambda: engine.run(native))
        until = time.perf_counter() + LATER_SECONDS
        for _ in range(LATER_CALLS):
            engine.run(native)
            if time.perf_counter() > until:
                break
    peaks[-1] = _peak_bytes()
    grown = [after - before for before, after in pairwise(peaks)]
    print(json.dumps(dict(zip(QUANTITIES, [*seconds, sum(seconds), *grown, sum(grown)], strict=True))))
    return 0


def _arguments(words: list[str] | None) -> argparse.Namespace:
    parser = Parser(prog="python -m bench.cold_start", description="One cold start, for the bench.")
    parser.add_argument("--runtime", required=True)
    parser.add_argument("--onnx", required=True, type=Path)
    parser.add_argument("--inputs", required=True, type=Path)
    parser.add_argument("--sha256", default="")
    parser.add_argument("--cpus")
    parser.add_argument("--batch", type=int)
    parser.add_argument("--shape", action="append", default=[])
    parser.add_argument("--size", action="append", default=[])
    parser.add_argument("--model")
    parser.add_argument("--network")  # a model of the user is not in the catalogue of this process
    parser.add_argument("--run", type=Path)
    parser.add_argument("--module", type=Path, help="folder of a torch module")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--device", default="cpu")
    return parser.parse_args(words)


def _peak_bytes() -> int:
    """Peak resident memory of this process, bytes."""
    try:
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith("VmHWM:"):  # ru_maxrss starts at the resident memory of the parent when it forked
                return int(line.split()[1]) * 1024
    except OSError:
        pass
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def _reset_peak() -> None:
    """Reset the peak to the present resident memory, where the system can (proc(5), clear_refs)."""
    with suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")


if __name__ == "__main__":
    exit_with(main)
