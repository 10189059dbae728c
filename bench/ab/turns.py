"""One side of `python -m bench ab`: a process that holds an engine and calls it when it is its turn.

The parent writes one JSON object a line to standard input, and reads one a line from standard output (protocol
`turns/1`; the first line, with the protocol, comes unasked). Between two requests the process waits in a read, without
using a core. What engines print goes to standard error. The process ends with its parent: at the end of its input, and
on Linux by a signal.

    {"do": "load", ...}                                the words of `Request`: load the model, or load it again
    {"do": "part", "lead_in": 8, "calls": 100}         call the engine, and time the calls; see `Engine.part`
    {"do": "calibrate"}                                how fast the machine is now
    {"do": "outputs", "file": "o.npz", "seconds": 5}   compute the pool once, for the comparison of the outputs
    {"do": "settings"}                                 what the engine reports of itself

A mistake is {"error": "one line"}. Other environments need numpy, msgspec and the engine, nothing else.
"""

import gc
import json
import os
import platform
import resource
import time
from collections.abc import Callable
from contextlib import suppress
from itertools import cycle
from pathlib import Path
from statistics import median
from typing import Any, TextIO

import numpy as np

from bench.arrays import load_inputs, save_outputs
from bench.calibration import calibrate_briefly
from bench.models import Model
from bench.placement import elsewhere
from bench.runtimes import Setting, checked_options, find
from bench.timing import timed_calls
from study.artifacts import RunFiles
from study.children import end_with_parent
from study.entry import Entry
from study.environment import commit, versions
from study.errors import StudyError, in_one_line, one_line
from study.modules.files import ModuleFiles
from study.onnx_given import Given
from study.recipe import Recipe

PROTOCOL = "turns/1"


class Engine:
    """A loaded model with its pool of inputs."""

    def __init__(self, request: dict[str, Any]) -> None:
        """Load the model.

        Raises:
            StudyError: it does not load, or the engine uses other threads or options than requested.
        """
        gc.collect()  # of an earlier load
        gc.disable()  # a collection would be an outlier
        name, threads = request["runtime"], request["threads"]
        kind = find(name)
        if kind.needs_checkpoint and not request["trained"]:
            raise StudyError(f"{name} runs modules, and the standard variant of trained models, no other ONNX file")
        setting = Setting(threads, request["device"], request["options"], request.get("batch"))
        checked_options(name, kind, setting)
        pool = load_inputs(Path(request["inputs"]))
        place = elsewhere(np.random.default_rng(request["seed"]))
        with place, in_one_line(f"{name} does not load {request['onnx']}"):
            self.runtime = runtime = kind(_model(request), setting)
        reported = runtime.settings()
        for option, value in {"threads": threads, **request["options"]}.items():
            if str(found := reported.get(option)).casefold() != str(value).casefold():
                raise StudyError(f"{option}: {value} was set, {name} reports {found}")
        with in_one_line(f"{name} does not take the inputs"), runtime.context():
            self.native = request["mode"] == "native"
            self.call: Callable[[Any], Any] = runtime.run if self.native else self._from_numpy
            self.pool = [runtime.to_native(given) for given in pool] if self.native else pool
        self.inputs = cycle(self.pool)
        self.idle = [0.0, 0.0]
        self.waiting = now()

    def _from_numpy(self, given: Any) -> Any:
        return self.runtime.to_numpy(self.runtime.run(self.runtime.to_native(given)))

    def part(self, lead_in: int, calls: int, each: bool = False) -> dict[str, Any]:
        """Call the engine `lead_in` + `calls` times.

        Args:
            each: reply with the `durations` of all these calls.

        Returns:
            `seconds`: the median of the timed calls. `wall`, `cpu`, `switches`: time, processor time and involuntary
            context switches of these calls, but for one: the turn itself wakes the parent and threads of the kernel on
            this core, and a program that competes for it takes it several times in a part. `idle_wall`, `idle_cpu`:
            time and processor time of the wait before all calls.
        """
        self._waited()
        with self.runtime.context():
            durations = timed_calls(self.call, self.inputs, lead_in)
            begin, switches = now(), resource.getrusage(resource.RUSAGE_SELF).ru_nivcsw
            durations += timed_calls(self.call, self.inputs, calls)
            end = now()
        idle, self.idle = self.idle, [0.0, 0.0]
        reply = {
            "seconds": median(durations[lead_in:]),
            "wall": end[0] - begin[0],
            "cpu": end[1] - begin[1],
            "switches": max(0, resource.getrusage(resource.RUSAGE_SELF).ru_nivcsw - switches - 1),
            "idle_wall": idle[0],
            "idle_cpu": idle[1],
            **({"durations": durations} if each else {}),
        }
        self.waiting = now()
        return reply

    def calibrate(self) -> dict[str, Any]:
        """Seconds of a brief calibration."""
        self._waited()
        found = calibrate_briefly()
        self.waiting = now()
        return {"arithmetic_seconds": found.arithmetic_seconds, "memory_seconds": found.memory_seconds}

    def _waited(self) -> None:
        """Count what the engine's threads did since the last request."""
        for i, (before, after) in enumerate(zip(self.waiting, now(), strict=True)):
            self.idle[i] += after - before

    def outputs(self, file: str, seconds: float) -> dict[str, Any]:
        """Compute the pool once, as far as `seconds` allow, into an .npz file."""
        until = time.perf_counter() + seconds
        calls: list[list[Any]] = []
        with self.runtime.context(), in_one_line("the model does not run"):
            for given in self.pool:
                if calls and time.perf_counter() > until:
                    break
                result = self.call(given)
                calls.append(list(self.runtime.to_numpy(result) if self.native else result))
            return {"structure": save_outputs(Path(file), calls)}


def now() -> tuple[float, float]:
    """Wall time, and processor time of all threads of this process."""
    return time.perf_counter(), time.process_time()


def _model(request: dict[str, Any]) -> Model:
    run = entry = None
    if folder := request["run"]:
        run = RunFiles(Path(folder), request["model"], int(Path(folder).name[4:]))
        entry = Entry(request["model"], request["network"], Recipe())
    shapes = {name: tuple(shape) for name, shape in request["shapes"].items()}
    module = ModuleFiles(Path(request["module"])) if request.get("module") else None
    given, digest = Given(shapes, sizes=request.get("sizes", {})), request.get("sha256", "")
    return Model(request["model"], Path(request["onnx"]), digest, entry, run, given=given, module=module)


def main() -> None:
    """Answer the requests on standard input until it ends."""
    end_with_parent()
    requests, replies = own_channels()

    def send(reply: dict[str, Any]) -> None:
        replies.write(json.dumps(reply) + "\n")
        replies.flush()

    greeting = {"python": platform.python_version(), "packages": versions(), "commit": commit()[0]}
    send({"protocol": PROTOCOL, **greeting})
    engine: Engine | None = None
    with suppress(BrokenPipeError):
        for line in requests:
            request = json.loads(line)
            try:
                match request.pop("do"):
                    case "load":
                        if engine:
                            engine.runtime.close()
                            engine = None
                        engine = Engine(request)
                        send({})
                    case "settings" if engine:
                        send({"settings": engine.runtime.settings()})
                    case ("part" | "calibrate" | "outputs") as task if engine:
                        send(getattr(engine, task)(**request))
                    case other:
                        send({"error": f"{PROTOCOL} has no request {other!r} here"})
            except BrokenPipeError:
                raise
            except Exception as error:  # engines raise exceptions of any type
                send({"error": str(error) if isinstance(error, StudyError) else one_line(error, 300)})


def own_channels() -> tuple[TextIO, TextIO]:
    """Standard input and output for this module alone: engines get an empty input, and print to standard error."""
    requests, replies = os.fdopen(os.dup(0)), os.fdopen(os.dup(1), "w")
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.dup2(2, 1)
    return requests, replies


if __name__ == "__main__":
    main()
