"""The parametrised cases of `pytest bench`, and its additions to pytest-benchmark's JSON and terminal output."""

import sys
from collections.abc import Generator, Iterator
from typing import Any, NoReturn

import pytest
from pytest_benchmark.utils import safe_dumps

from bench.output import terminal
from bench.output.progress import Progress
from bench.plan import add_bench_options, find_session
from bench.sampling import TooSlowError
from bench.session import Session
from bench.target import NOWHERE, Target
from bench.tasks import CaseTask, PairTask, Task
from study import stopping
from study.bench_file import seal_of
from study.errors import StudyError, print_error
from study.record_files import as_json
from study.records.bench import JournalEntry
from study.seal import KEY

MISTAKE = 2
SESSION = pytest.StashKey[Session]()
TARGET = pytest.StashKey[Target]()


def pytest_configure(config: pytest.Config) -> None:
    unused = "ignore:Benchmark fixture was not used at all:pytest_benchmark.logger.PytestBenchmarkWarning"
    config.addinivalue_line("filterwarnings", unused)  # of a case that failed before it was timed


def pytest_addoption(parser: pytest.Parser) -> None:
    add_bench_options(parser.getgroup("fashionbench").addoption)
    parser.optparser.error = _mistake  # type: ignore[method-assign]  # pytest's own has four lines and code 4


def _mistake(message: str) -> NoReturn:
    """End as every command does at a mistake in its words."""
    print_error(StudyError(f"{message}; see `python -m pytest bench --help`"))
    sys.exit(MISTAKE)


@pytest.hookimpl(tryfirst=True)
def pytest_cmdline_main(config: pytest.Config) -> int | None:
    """Plan the session before pytest begins, so that a mistake ends in one line."""
    option = config.option
    if option.help or option.version or option.markers:
        return None
    stopping.watch("nothing was measured; run the same command again")
    try:
        if option.benchmark_json is not None:
            config.stash[TARGET] = Target(option.benchmark_json)
            option.benchmark_json = NOWHERE
            if not option.collectonly:
                config.stash[TARGET].hold()
        config.stash[SESSION] = planned = find_session(option, config.invocation_params.args)
        if not option.collectonly and TARGET in config.stash:
            planned.begin_journal(config.stash[TARGET].path)
            stopping.watch(f"what was measured is in {planned.path}; run the same command again to measure everything")
    except (Exception, KeyboardInterrupt) as error:  # an engine that is imported may make another of an interrupt
        if isinstance(error, KeyboardInterrupt) or stopping.is_interrupted():
            stopping.say()
            return stopping.INTERRUPTED
        if not isinstance(error, StudyError | OSError):
            raise
        print_error(error)
        return MISTAKE
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


@pytest.hookimpl(wrapper=True)
def pytest_sessionfinish(session: pytest.Session) -> Iterator[None]:
    """Write the JSON if everything was measured."""
    config = session.config
    measured, target = config.stash[SESSION], config.stash.get(TARGET, None)
    benchmarks = config.pluginmanager.getplugin("pytest-benchmark")
    benchmarks.logger.level = benchmarks.logger.QUIET  # it would announce where it writes
    asked = bool(session.items) and not config.option.collectonly
    if session.exitstatus == pytest.ExitCode.OK and asked and measured.is_empty:  # all were left out
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
    if session.exitstatus not in (pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED):
        benchmarks.json = None  # which takes seconds to make
    yield
    try:
        measured.complete = target is not None and target.write()
        if session.exitstatus == pytest.ExitCode.INTERRUPTED:
            session.exitstatus = stopping.INTERRUPTED
        measured.write(JournalEntry(exit_status=int(session.exitstatus)))
    except OSError as error:
        print_error(error)
        session.exitstatus = MISTAKE


def pytest_keyboard_interrupt(excinfo: pytest.ExceptionInfo[BaseException]) -> None:
    """Say at once what is kept."""
    if getattr(excinfo.value, "returncode", None) != MISTAKE:
        stopping.say()


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
    """Let the processes measure what was collected, before the tests hand it to pytest-benchmark.

    If it is interrupted, or the journal cannot be written, the session ends without tables.
    """
    try:
        _measure(session)
        result = yield
        stopping.finishing()  # from here on pytest would let KeyboardInterrupt end the process
        return result
    except KeyboardInterrupt:
        stopping.finishing()
        stopping.watch(_kept(session.config.stash[SESSION]))
        session.config.get_terminal_writer().line()  # ends that of the progress
        pytest.exit("interrupted", stopping.INTERRUPTED)
    except OSError as error:
        print_error(error)
        pytest.exit("a file cannot be written", MISTAKE)


def _measure(session: pytest.Session) -> None:
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
    if TARGET in config.stash and config.stash[TARGET].content is None:  # the first one is that of --benchmark-json
        config.stash[TARGET].content = output_json


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Print the results, and where they are."""
    session = config.stash[SESSION]
    width = terminalreporter._tw.fullwidth
    for line in terminal.tables(session.record(), width):
        terminalreporter.write_line(line)
    for line in [line for note in session.notes for line in terminal.wrapped(note, width)]:
        terminalreporter.write_line(line)
    if session.complete:
        terminalreporter.write_line(f"wrote {config.stash[TARGET].path}")


@pytest.hookimpl(tryfirst=True)
def pytest_unconfigure(config: pytest.Config) -> None:
    """The last words of a session in which something failed."""
    if target := config.stash.get(TARGET, None):
        target.close()
    if reporter := config.pluginmanager.getplugin("terminalreporter"):
        reporter._keyboardinterrupt_memo = None  # it would print where in the source a session was interrupted
    session = config.stash.get(SESSION, None)
    if session and session.path and not session.complete and not stopping.is_interrupted():
        writer = config.get_terminal_writer()
        for line in terminal.wrapped(f"incomplete: {_kept(session)}", writer.fullwidth):
            writer.line(line)
    if session:
        stopping.finish()


def _kept(session: Session) -> str:
    """What is left of a session that did not come to its end, and how to go on."""
    again = "run the same command again to measure everything"
    if not session.path or session.is_empty:
        return f"nothing was measured to its end; {again}"
    readers = "`python -m bench compare` and `python -m analysis --bench`"
    return f"the finished measurements are in {session.path}, which {readers} read like a JSON; {again}"
