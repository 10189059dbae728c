"""How a command stops: SIGINT and SIGTERM raise KeyboardInterrupt, and within two seconds it has ended, in one line.

A long call of an engine delays Python's own handler until it returns, so a watchdog ends the process if need be.
"""

import atexit
import os
import signal
import sys
import threading
import time
from contextlib import suppress
from types import FrameType
from typing import NoReturn

from study import CHILD, children

STOPS = (signal.SIGINT, signal.SIGTERM)
"""Ctrl-C, and what `kill`, `timeout`, Slurm, Kubernetes and CI services send."""
PATIENCE_SECONDS = 1.5
"""Time for an orderly end after a signal."""
INTERRUPTED = 130
INTERRUPT = "interrupted"


class Watchdog:
    """Raises KeyboardInterrupt at the first signal, and ends the process if that has not ended it in time."""

    def __init__(self, last_words: str) -> None:
        self.last_words = last_words
        """What is kept and how to go on, for the one line of an interrupted command."""
        self.stopping = False
        self.raises = True
        """Whether a signal raises KeyboardInterrupt; in time the process ends in any case."""
        self._is_child = CHILD in os.environ  # while this process starts a child, it is there for that one
        self._said = threading.Lock()
        self._errors = -1
        with suppress(OSError):  # `2>&-`
            self._errors = os.dup(2)  # pytest exchanges the stream while tests run
        self._wakeup, write = os.pipe()
        os.set_blocking(write, False)
        signal.set_wakeup_fd(write, warn_on_full_buffer=False)  # written to at once, even during a long call
        for number in STOPS:
            if signal.getsignal(number) is not signal.SIG_IGN:  # as with `nohup ... &`
                signal.signal(number, self._interrupt)
        self._report_ignored, sys.unraisablehook = sys.unraisablehook, self._ignored
        threading.Thread(target=self._watch, name="watchdog", daemon=True).start()

    def _interrupt(self, number: int, frame: FrameType | None) -> None:
        if not self.stopping:  # tox and terminals send several; a second one must not disturb the orderly end
            self.stopping = True
            if self.raises:
                raise KeyboardInterrupt

    def _ignored(self, unraisable: "sys.UnraisableHookArgs") -> None:
        """Report what Python ignores, but not an interrupt that came in a destructor or in a callback of C."""
        if not (self.stopping and isinstance(unraisable.exc_value, KeyboardInterrupt)):
            self._report_ignored(unraisable)

    def _watch(self) -> None:
        while os.read(self._wakeup, 1)[0] not in STOPS:
            pass
        time.sleep(PATIENCE_SECONDS)
        self.say()
        children.end_all()
        os._exit(INTERRUPTED)

    def say(self, what: str = INTERRUPT) -> None:
        """Print the line of a command that ends early, once; of an interrupted child its parent does."""
        if what == INTERRUPT and self._is_child:
            return
        if self._said.acquire(blocking=False):
            with suppress(OSError):  # nobody reads it
                os.write(self._errors, f"{what}: {self.last_words}\n".encode())


_watchdogs: list[Watchdog] = []


def watch(last_words: str) -> Watchdog:
    """The watchdog of this process, which it gets at the first call, in its main thread."""
    if not _watchdogs:
        _watchdogs.append(Watchdog(last_words))
    _watchdogs[0].last_words = last_words
    return _watchdogs[0]


def say() -> None:
    """Print the line of an interrupted command, once."""
    for watchdog in _watchdogs:
        watchdog.say()


def is_interrupted() -> bool:
    """Whether a signal has come."""
    return any(watchdog.stopping for watchdog in _watchdogs)


def end(code: int) -> NoReturn:
    """End the process at once: it removes its temporary files, but does not take its engines down.

    The interpreter would take torch apart for a third of a second, or for several on a busy machine.
    """
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError):  # nobody reads it, or the exit code says what has failed
            stream.flush()
    os._exit(code)


def finishing() -> None:
    """Raise nothing at a signal from now on: what is left is short, and a library runs it that would not expect it."""
    for watchdog in _watchdogs:
        watchdog.raises = False


def finish() -> None:
    """Ignore signals from now on: the command has ended, only its process has not."""
    for number in STOPS:
        signal.signal(number, signal.SIG_IGN)
