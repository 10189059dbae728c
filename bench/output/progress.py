"""The progress of `pytest bench` at the terminal, in place of pytest's dots."""

import sys
import time
from typing import Any

from bench.output.terminal import about, shortened, wrapped
from bench.session import Session, Watcher
from study.environment import describe


class Progress(Watcher):
    """Prints the machine and the forecast; for each process a line, which counts its measurements at a terminal."""

    def __init__(self, session: Session, writer: Any) -> None:
        self.writer, self.live = writer, sys.stdout.isatty()
        described = describe(session.environment)
        self.say(f"{described.machine}, {described.versions}")
        if session.path is None:
            self.say("the results will not be saved: give --benchmark-json=FILE")

    def say(self, line: str) -> None:
        for part in wrapped(line, self.writer.fullwidth):
            self.writer.line(part)

    def begin(self, title: str, number: int) -> None:
        self.title, self.number, self.count, self.began = title, number, 0, time.monotonic()
        if not self.live:
            self.writer.write(f"{title}: ", flush=True)

    def measuring(self, name: str) -> None:
        self.count += 1  # beyond the number, where some are measured again
        if self.live:
            place = f"\r{self.title} [{min(self.count, self.number)}/{self.number}] "
            width = self.writer.fullwidth - len(place)
            self.writer.write(f"{place}{shortened(name, width):<{width}}", flush=True)

    def end(self) -> None:
        again = f", {self.count - self.number} of them again" if self.count > self.number else ""
        text = (
            f"{self.count} measurement{'s' if self.count > 1 else ''}{again} in {about(time.monotonic() - self.began)}"
        )
        if self.live:
            self.writer.write(f"\r{' ' * (self.writer.fullwidth - 1)}\r{self.title}: ")
        self.writer.line(text)
