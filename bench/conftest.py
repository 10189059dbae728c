"""The parametrised cases of `pytest bench`, and its additions to pytest-benchmark's JSON and terminal output."""

import os
import sys
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Any

import pytest
from pytest_benchmark.utils import safe_dumps

from bench.output import terminal
from bench.output.progress import Progress
from bench.plan import add_bench_options, find_session
from bench.sampling import TooSlowError
from bench.session import Session
from bench.tasks import CaseTask, PairTask, Task
from study import stopping
from study.bench_file import read_bench, seal_of
from study.errors import StudyError, print_error
from study.record_files import as_json
from study.records.bench import JournalEntry
from study.seal import KEY

SESSION = pytest.StashKey[Session]()
TARGET = pytest.StashKey[Path]()
INTERRUPTED = 130


def pytest_configure(config: pytest.Config) -> None:
    unused = "ignore:Benchmark fixture was not used at all:pytest_benchmark.logger.PytestBenchmarkWarning"
    config.addinivalue_line("filterwarnings", unused)  # of a case that failed before it was timed


def pytest_addoption(parser: pytest.Parser) -> None:
    add_bench_options(parser.getgroup("fashionbench").addoption)


@pytest.hookimpl(tryfirst=True)
def pytest_cmdline_main(config: pytest.Config) -> int | None:
    """Plan the session before pytest begins, so that a mistake ends in one line."""
    option = config.option
    if option.help or option.version or option.markers:
        return None
    stopping.watch("run the same command again")
    try:
        if option.benchmark_json is not None:
            config.stash[TARGET] = _writable(option.benchmark_json)
            option.benchmark_json = _partial(config.stash[TARGET])
        config.stash[SESSION] = planned = find_session(option, config.invocation_params.args)
        if not option.collectonly and TARGET in config.stash:
            planned.begin_journal(config.stash[TARGET])
            stopping.watch(f"what was measured is in {planned.path}; run the same command again to measure everything")
    except (StudyError, OSError) as error:
        print_error(error)
        return 2
    except KeyboardInterrupt:
        print("interrupted: nothing was measured", file=sys.stderr)
        return INTERRUPTED
    words = [word for word in map(str, config.invocation_params.args) if word.startswith("--benchmark-")]
    option.benchmark_quiet = all(word.startswith("--benchmark-json") for word in words)  # its table is 300 columns wide
    option.no_header = True
    option.reportchars = option.reportchars.replace("fE", "N")  # its default repeats each error
    if option.verbose <= 0:
        config.pluginmanager.register(Quiet())
    return None


class Quiet:
    """A plugin of pytest that prints no dots: the progress has been shown while the processes measured."""

    def pytest_report_teststatus(self, report: pytest.TestReport) -> tuple[str, str, str]:
        return (report.outcome, "", "") if report.when == "call" or not report.passed else ("", "", "")


def _writable(target: Path) -> Path:
    """The name of the JSON, which pytest-benchmark would open only at the end.

    Raises:
        StudyError: no file can be written there.
    """
    target = target.resolve()
    if target.exists() and not target.is_file():
        kind = "a folder" if target.is_dir() else "no plain file"
        raise StudyError(f"--benchmark-json: expected the name of a file, {target} is {kind}")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        _partial(target).write_bytes(b"")
    except OSError as error:
        raise StudyError(f"--benchmark-json: {error.filename}: {error.strerror}") from None
    _partial(target).unlink()
    return target


def _partial(target: Path) -> Path:
    """Where the JSON is written at first: an interrupted session must not replace the file of an earlier one."""
    return target.with_name(f".{target.name}.partial")


@pytest.hookimpl(wrapper=True)
def pytest_sessionfinish(session: pytest.Session) -> Iterator[None]:
    """Move the file of pytest-benchmark to its place if everything was measured."""
    config = session.config
    measured, target = config.stash[SESSION], config.stash.get(TARGET, None)
    benchmarks = config.pluginmanager.getplugin("pytest-benchmark")
    benchmarks.logger.level = benchmarks.logger.QUIET  # it would announce the temporary name
    if session.exitstatus not in (pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED):
        benchmarks.json = None  # which takes seconds to write
    yield
    if target is not None and (partial := _partial(target)).is_file():
        read_bench(partial, "")  # a malformed file must not replace a good one
        with partial.open("rb") as file:
            os.fsync(file.fileno())
        partial.replace(target)
        measured.complete = True
    if session.exitstatus == pytest.ExitCode.INTERRUPTED:
        session.exitstatus = INTERRUPTED
    measured.write(JournalEntry(exit_status=int(session.exitstatus)))


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    session = metafunc.config.stash[SESSION]
    if "case" in metafunc.fixturenames:
        metafunc.parametrize("case", session.cases, ids=str)
    if "pair" in metafunc.fixturenames:
        names = [f"{pair[0].runtime}-against-{pair[1]}" for pair in session.pairs]
        metafunc.parametrize("pair", session.pairs, ids=names)
    if "families" in metafunc.fixturenames:
        metafunc.parametrize("families", session.families, ids=str)
    for scenario in ("offline", "server"):
        if scenario in metafunc.fixturenames:
            loads = [task for task in session.scenarios if task.scenario == scenario]
            metafunc.parametrize(scenario, loads, ids=str)
    if "starting" in metafunc.fixturenames:
        metafunc.parametrize("starting", session.starting, ids=str)
    if "profiling" in metafunc.fixturenames:
        metafunc.parametrize("profiling", session.profiling, ids=lambda task: str(task.case))


@pytest.hookimpl(wrapper=True)
def pytest_runtestloop(session: pytest.Session) -> Generator[None, object, object]:
    """Let the processes measure what was collected, before the tests hand it to pytest-benchmark."""
    if not session.config.option.collectonly and not session.testsfailed:
        measured, reporter = session.config.stash[SESSION], session.config.pluginmanager.getplugin("terminalreporter")
        items: list[Any] = session.items
        parameters = [item.callspec.params for item in items]
        tasks: list[Task] = [CaseTask(given["case"]) for given in parameters if "case" in given]
        tasks += [PairTask(*given["pair"]) for given in parameters if "pair" in given]
        tasks += [given[name] for given in parameters for name in ("offline", "server") if name in given]
        starting = [given["starting"] for given in parameters if "starting" in given]
        families = [given["families"] for given in parameters if "families" in given]
        profiling = [given["profiling"] for given in parameters if "profiling" in given]
        measured.run(tasks, starting, Progress(measured, reporter._tw), families, profiling)
    return (yield)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Drop the skipped tests that pytest generates for empty parameter sets."""
    items[:] = [item for item in items if item.get_closest_marker("skip") is None]


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Iterator[None]:
    """Report a measurement that failed in one line, without pytest's traceback."""
    try:
        return (yield)
    except TooSlowError as error:
        pytest.skip(str(error))
    except StudyError as error:
        mistake = error
    pytest.fail(f"error: {mistake}", pytrace=False)  # outside of the handler, or pytest shows both


@pytest.fixture(name="session", scope="session")
def _session(request: pytest.FixtureRequest) -> Session:
    return request.config.stash[SESSION]


def pytest_benchmark_update_json(config: pytest.Config, benchmarks: list[Any], output_json: dict[str, Any]) -> None:
    """Add the block `study` and the seal; pytest-benchmark calls this for each file that it writes."""
    study = as_json(config.stash[SESSION].record())
    del study["cases"]  # which are the benchmarks' own
    output_json["study"] = study
    output_json[KEY] = seal_of(safe_dumps(output_json))  # type: ignore[no-untyped-call]


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Print the results, and where they are."""
    session = config.stash[SESSION]
    width = terminalreporter._tw.fullwidth
    for line in terminal.tables(session.record(), width):
        terminalreporter.write_line(line)
    for line in [line for note in session.notes for line in terminal.wrapped(note, width)]:
        terminalreporter.write_line(line)
    if session.complete:
        terminalreporter.write_line(f"wrote {config.stash[TARGET]}")


def pytest_unconfigure(config: pytest.Config) -> None:
    """The last words of a session that was interrupted, or in which something failed."""
    session = config.stash.get(SESSION, None)
    if session and session.path and not session.complete:
        writer = config.get_terminal_writer()
        text = "incomplete: nothing was measured to its end; "
        if any(session.results.values()) or session.cold_starts:
            text = f"incomplete: the finished measurements are in {session.path}, which `python -m bench compare` and "
            text += "`python -m analysis --bench` read like a JSON; "
        text += "run the same command again to measure everything"
        for line in terminal.wrapped(text, writer.fullwidth):
            writer.line(line)
