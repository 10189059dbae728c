"""The progress of `pytest bench` at the terminal, in place of pytest's dots: a line for each measurement."""

import time
from collections import defaultdict
from collections.abc import Iterator
from statistics import fmean
from typing import Any

import pytest

from bench.keys import short_name
from bench.session import Session
from bench.terminal import about, result, shortened, wrapped
from study.environment import describe

ROOM = 36
"""Characters of a line that its result and the forecast may take."""
SECONDS_AROUND = 2.0
"""Overhead of a measurement, and time of a cold start: a guess for the forecast, until the first has ended."""


class Progress:
    """A plugin of pytest that prints the machine, what is being measured, its result and how long the rest takes.

    The forecast for a measurement is the mean duration of the finished ones of its kind.
    """

    def __init__(self, session: Session, lines: bool) -> None:
        self.session, self.lines = session, lines  # with -v pytest's own
        self.durations: dict[str, list[float]] = defaultdict(list)
        """Seconds of the finished measurements, by the name of the test."""

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        reporter: Any = session.config.pluginmanager.getplugin("terminalreporter")
        if self.lines:
            reporter.showfspath = False
        budget, described = self.session.budget, describe(self.session.environment)
        for line in wrapped(f"{described.machine}, {described.versions}", reporter._tw.fullwidth):
            reporter.write_line(line)
        reporter.write_line(f"each measurement takes at most {budget.most_seconds:g} s, or its fewest calls")
        if self.session.path is None:
            reporter.write_line("the results will not be saved: give --benchmark-json=FILE")

    def pytest_report_teststatus(self, report: pytest.TestReport) -> tuple[str, str, str] | None:
        return (report.outcome, "", "") if self.lines and report.when == "call" else None

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Iterator[None]:
        """Print the name when the measurement begins, and its result when it has ended."""
        if not self.lines:
            return (yield)
        writer, items = item.config.get_terminal_writer(), item.session.items
        number = items.index(item) + 1
        place = f"[{number:>{len(str(len(items)))}}/{len(items)}] "
        writer.write(place + shortened(label(item), max(ROOM // 2, writer.fullwidth - len(place) - ROOM)), flush=True)
        self.session.latest, failures, began = None, item.session.testsfailed, time.monotonic()
        text = "interrupted"
        try:
            outcome = yield
            self.durations[_kind(item)].append(time.monotonic() - began)
            if item.session.testsfailed > failures:
                text = "failed"
            elif self.session.latest:
                text = result(self.session.latest)
            else:
                text = "left out" if label(item) in self.session.left_out else "done"
            if left := sum(self.expected_seconds(_kind(each)) for each in items[number:]):
                text += f"; {about(left)} left"
        finally:
            writer.line(f": {text}")
        return outcome

    def expected_seconds(self, kind: str) -> float:
        """The time that a measurement of a kind will take."""
        if known := self.durations.get(kind):
            return fmean(known)
        budget = self.session.budget
        seconds = {
            "test_latency": 0.0 if budget.quick else budget.seconds,
            "test_comparison": budget.comparison_seconds,
            "test_cold_start": 0.0 if budget.quick else budget.cold_starts * SECONDS_AROUND,
            "test_again": time.monotonic() - self.session.began,
        }
        return seconds[kind] + SECONDS_AROUND


def label(item: Any) -> str:
    """The name of a measurement in words."""
    parameters = item.callspec.params if hasattr(item, "callspec") else {}
    if case := parameters.get("case"):
        return short_name(case.key)
    if pair := parameters.get("pair"):
        return short_name(pair[1].key, pair[0].runtime)
    if case := parameters.get("starting"):
        return f"cold start, {short_name(case.key)}"
    if process := parameters.get("process"):
        return f"process {process}"
    return "overhead of the harness"


def _kind(item: Any) -> str:
    name: str = item.originalname
    return name
