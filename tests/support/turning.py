"""Runtimes for tests of the processes that take turns: they compute nothing, and each has a habit of its own."""

import os
import signal
import threading
from typing import Any

import numpy as np

from bench.models import Inputs, Model
from bench.runtimes import Runtime, Setting
from study.records.bench import Settings

WORK = 2000
"""Steps of a call, about 50 microseconds."""


class Steady(Runtime):
    """Doubles its input, after some fixed work; it prints to standard output, as some engines do."""

    work = WORK

    def __init__(self, model: Model, setting: Setting) -> None:
        self.threads = setting.threads
        print("loaded", flush=True)
        os.write(1, b"loaded\n")

    def run(self, inputs: Inputs) -> Any:
        x = 1
        for _ in range(self.work):
            x = (x + 7) & 127
        return [2 * array for array in inputs.values()]

    def settings(self) -> Settings:
        return {"threads": self.threads}


class Slower(Steady):
    """A tenth more work."""

    work = WORK + WORK // 10


class Other(Steady):
    """Computes something else."""

    def run(self, inputs: Inputs) -> Any:
        return [array + np.float32(1) for array in super().run(inputs)]


class Crashing(Steady):
    """Ends the process at its first call."""

    def run(self, inputs: Inputs) -> Any:
        print("about to crash", flush=True)
        os.kill(os.getpid(), signal.SIGSEGV)


class OneThread(Steady):
    """Uses one thread, however many it should."""

    def settings(self) -> Settings:
        return {"threads": 1}


class Spinning(Steady):
    """Has a thread that never waits."""

    def __init__(self, model: Model, setting: Setting) -> None:
        super().__init__(model, setting)
        threading.Thread(target=self._spin, daemon=True).start()

    def _spin(self) -> None:
        while True:
            np.matmul(np.ones((50, 50)), np.ones((50, 50)))
