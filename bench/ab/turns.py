"""One side of `python -m bench ab`: a process that holds an engine and calls it when it is its turn.

The parent writes requests to standard input and reads the replies from standard output (bench/ab/protocol.py). Between
two requests the process waits in a read, without using a core. What engines print goes to standard error. The process
ends with its parent: at the end of its input, and on Linux by a signal. Other environments need numpy, msgspec and the
engine, nothing else.
"""

import gc
import os
import platform
import resource
import time
from collections.abc import Callable
from contextlib import suppress
from itertools import cycle
from pathlib import Path
from statistics import median
from typing import Any, BinaryIO

import msgspec
import numpy as np

from bench.ab.protocol import (
    PROTOCOL,
    Calibrate,
    Calibrated,
    Compute,
    Computed,
    Greeting,
    Load,
    Part,
    Reply,
    Report,
    Reported,
    Requests,
    Timed,
)
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


class Engine:
    """A loaded model with its pool of inputs."""

    def __init__(self, request: Load) -> None:
        """Load the model.

        Raises:
            StudyError: it does not load, or the engine uses other threads or options than requested.
        """
        gc.collect()  # of an earlier load
        gc.disable()  # a collection would be an outlier
        name, threads = request.runtime, request.threads
        kind = find(name)
        if kind.needs_checkpoint and not request.trained:
            raise StudyError(f"{name} runs modules, and the standard variant of trained models, no other ONNX file")
        setting = Setting(threads, request.device, request.options, request.batch)
        checked_options(name, kind, setting)
        pool = load_inputs(Path(request.inputs))
        place = elsewhere(np.random.default_rng(request.seed))
        with place, in_one_line(f"{name} does not load {request.onnx}"):
            self.runtime = runtime = kind(_model(request), setting)
        reported = runtime.settings()
        for option, value in {"threads": threads, **request.options}.items():
            if str(found := reported.get(option)).casefold() != str(value).casefold():
                raise StudyError(f"{option}: {value} was set, {name} reports {found}")
        with in_one_line(f"{name} does not take the inputs"), runtime.context():
            self.native = request.mode == "native"
            self.call: Callable[[Any], Any] = runtime.run if self.native else self._from_numpy
            self.pool = [runtime.to_native(given) for given in pool] if self.native else pool
        self.inputs = cycle(self.pool)
        self.idle = [0.0, 0.0]
        self.waiting = now()

    def _from_numpy(self, given: Any) -> Any:
        return self.runtime.to_numpy(self.runtime.run(self.runtime.to_native(given)))

    def part(self, asked: Part) -> Timed:
        """Call the engine, and time the calls."""
        self._waited()
        with self.runtime.context():
            durations = timed_calls(self.call, self.inputs, asked.lead_in)
            begin, switches = now(), resource.getrusage(resource.RUSAGE_SELF).ru_nivcsw
            durations += timed_calls(self.call, self.inputs, asked.calls)
            end = now()
        idle, self.idle = self.idle, [0.0, 0.0]
        reply = Timed(
            seconds=median(durations[asked.lead_in :]),
            wall=end[0] - begin[0],
            cpu=end[1] - begin[1],
            switches=max(0, resource.getrusage(resource.RUSAGE_SELF).ru_nivcsw - switches - 1),
            idle_wall=idle[0],
            idle_cpu=idle[1],
            durations=durations if asked.each else [],
        )
        self.waiting = now()
        return reply

    def calibrate(self) -> Calibrated:
        """A brief one."""
        self._waited()
        found = calibrate_briefly()
        self.waiting = now()
        return Calibrated(arithmetic_seconds=found.arithmetic_seconds, memory_seconds=found.memory_seconds)

    def _waited(self) -> None:
        """Count what the engine's threads did since the last request."""
        for i, (before, after) in enumerate(zip(self.waiting, now(), strict=True)):
            self.idle[i] += after - before

    def outputs(self, asked: Compute) -> Computed:
        """Compute the pool once."""
        until = time.perf_counter() + asked.seconds
        calls: list[list[Any]] = []
        with self.runtime.context(), in_one_line("the model does not run"):
            for given in self.pool:
                if calls and time.perf_counter() > until:
                    break
                result = self.call(given)
                calls.append(list(self.runtime.to_numpy(result) if self.native else result))
            return Computed(structure=save_outputs(Path(asked.file), calls))


def now() -> tuple[float, float]:
    """Wall time, and processor time of all threads of this process."""
    return time.perf_counter(), time.process_time()


def _model(request: Load) -> Model:
    run = entry = None
    if request.run and request.network:
        folder = Path(request.run)
        run = RunFiles(folder, request.model, int(folder.name[4:]))
        entry = Entry(request.model, request.network, Recipe())
    module = ModuleFiles(Path(request.module)) if request.module else None
    given = Given(request.shapes, sizes=request.sizes)
    return Model(request.model, Path(request.onnx), request.sha256, entry, run, given=given, module=module)


def main() -> None:
    """Answer the requests on standard input until it ends."""
    end_with_parent()
    requests, replies = own_channels()

    def send(reply: Reply) -> None:
        replies.write(msgspec.json.encode(reply, enc_hook=plain) + b"\n")
        replies.flush()

    send(Greeting(protocol=PROTOCOL, python=platform.python_version(), packages=versions(), commit=commit()[0]))
    decoder = msgspec.json.Decoder(Requests)
    engine: Engine | None = None
    with suppress(BrokenPipeError):
        for line in requests:
            try:
                asked = decoder.decode(line)
            except msgspec.ValidationError as error:
                send(Reply(error=f"{PROTOCOL} has no such request: {error}"))
                continue
            try:
                match asked:
                    case Load() as request:
                        if engine:
                            engine.runtime.close()
                            engine = None
                        engine = Engine(request)
                        send(Reply())
                    case _ if not engine:
                        send(Reply(error=f"{PROTOCOL}: no model is loaded"))
                    case Part() as request:
                        send(engine.part(request))
                    case Calibrate():
                        send(engine.calibrate())
                    case Compute() as request:
                        send(engine.outputs(request))
                    case Report():
                        send(Reported(settings=engine.runtime.settings()))
            except BrokenPipeError:
                raise
            except Exception as error:  # engines raise exceptions of any type
                message = str(error) if isinstance(error, StudyError) else one_line(error, 300)
                send(Reply(error=message.encode(errors="backslashreplace").decode()))  # names of files may be any bytes


def plain(value: Any) -> object:
    """A setting that an engine of the user's own reports, as JSON can hold it: a number of numpy, or a text."""
    return value.item() if isinstance(value, np.generic) else str(value)


def own_channels() -> tuple[BinaryIO, BinaryIO]:
    """Standard input and output for this module alone: engines get an empty input, and print to standard error."""
    requests, replies = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.dup2(2, 1)
    return requests, replies


if __name__ == "__main__":
    main()
