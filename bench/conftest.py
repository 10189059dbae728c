"""The parametrised cases of `pytest bench`, and its additions to pytest-benchmark's JSON and terminal summary."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from bench.plan import add_bench_options, find_session
from bench.sampling import TooSlowError
from bench.session import Session, summary
from study.artifacts import as_json
from study.bench_file import read_bench
from study.errors import StudyError
from study.records.bench import CaseRecord, JournalEntry

SESSION = pytest.StashKey[Session]()
TARGET = pytest.StashKey[Path]()


def pytest_addoption(parser: pytest.Parser) -> None:
    add_bench_options(parser.getgroup("fashionbench").addoption)


def pytest_configure(config: pytest.Config) -> None:
    """Check that the JSON can be written, because pytest-benchmark opens it only at the end.

    It is written to a temporary name; only a complete session moves it to its place, so that an interrupted one does
    not replace the file of an earlier session.
    """
    target = config.option.benchmark_json
    if target is None:
        return
    target = target.resolve()
    if target.exists() and not target.is_file():
        kind = "a folder" if target.is_dir() else "no plain file"
        raise pytest.UsageError(f"--benchmark-json: expected the name of a file, {target} is {kind}")
    partial = target.with_name(f".{target.name}.partial")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        partial.write_bytes(b"")
    except OSError as error:
        raise pytest.UsageError(f"--benchmark-json: {error.filename}: {error.strerror}") from None
    partial.unlink()
    config.option.benchmark_json = partial
    config.stash[TARGET] = target


def pytest_sessionstart(session: pytest.Session) -> None:
    """Plan the session before the collection, so that a mistake ends in one line."""
    config = session.config
    try:
        config.stash[SESSION] = planned = find_session(config.option, config.invocation_params.args)
        if not config.option.collectonly and TARGET in config.stash:
            planned.begin_journal(config.stash[TARGET])
    except StudyError as error:
        pytest.exit(f"error: {error}", returncode=2)
    except OSError as error:  # the journal cannot be written
        pytest.exit(f"error: {error.filename}: {error.strerror}", returncode=2)


@pytest.hookimpl(wrapper=True)
def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> Iterator[None]:
    """Move the file of pytest-benchmark to its place if everything was measured."""
    yield
    partial, target = session.config.option.benchmark_json, session.config.stash.get(TARGET, None)
    measured = session.config.stash.get(SESSION, None)
    if measured is None:
        return
    if target is not None and partial.is_file():
        if exitstatus == pytest.ExitCode.OK:
            read_bench(partial, "")  # a malformed file must not replace a good one
            with partial.open("rb") as file:
                os.fsync(file.fileno())
            partial.replace(target)
            measured.complete = True
            for part in measured.parts:
                part.unlink(missing_ok=True)
        else:
            partial.unlink()
    measured.write(JournalEntry(exit_status=int(exitstatus)))


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    session = metafunc.config.stash[SESSION]
    if "case" in metafunc.fixturenames:
        metafunc.parametrize("case", session.cases, ids=str)
    if "pair" in metafunc.fixturenames:
        names = [f"{pair[0].runtime}-against-{pair[1]}" for pair in session.pairs]
        metafunc.parametrize("pair", session.pairs, ids=names)
    if "starting" in metafunc.fixturenames:
        metafunc.parametrize("starting", session.starting, ids=str)
    if "process" in metafunc.fixturenames:
        metafunc.parametrize("process", range(2, session.processes + 1), ids=lambda n: f"{n}of{session.processes}")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Drop the skipped tests that pytest generates for empty parameter sets."""
    items[:] = [item for item in items if item.get_closest_marker("skip") is None]


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Iterator[None]:
    """Report a mistake that shows up during a measurement in one line, without pytest's traceback."""
    try:
        return (yield)
    except TooSlowError as error:
        item.config.stash[SESSION].left_out[item.name.partition("[")[2][:-1]] = str(error)
        pytest.skip(str(error))
    except StudyError as error:
        mistake = error
    pytest.fail(f"error: {mistake}", pytrace=False)  # outside of the handler, or pytest shows both


@pytest.fixture(name="session", scope="session")
def _session(request: pytest.FixtureRequest) -> Session:
    return request.config.stash[SESSION]


def pytest_benchmark_update_json(config: pytest.Config, benchmarks: list[Any], output_json: dict[str, Any]) -> None:
    """Add the block `study`; pytest-benchmark calls this for each file that it writes."""
    measured = [benchmark for benchmark in output_json["benchmarks"] if benchmark["extra_info"]]
    cases = [msgspec.convert(benchmark["extra_info"], CaseRecord) for benchmark in measured]
    study = as_json(config.stash[SESSION].record(cases))
    for benchmark, case in zip(measured, study.pop("cases"), strict=True):
        benchmark["extra_info"] = case
    output_json["study"] = study


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Print the comparisons, the invalid measurements with their causes, and where the results are."""
    session, target = config.stash.get(SESSION, None), config.stash.get(TARGET, None)
    if session is None:
        return
    for line in summary(session):
        terminalreporter.write_line(line)
    if target is not None and session.path is not None:
        if session.complete:
            terminalreporter.write_line(f"wrote {target}")
        else:
            terminalreporter.write_line(f"incomplete session: the finished measurements are in {session.path}")
    elif not config.option.collectonly:
        terminalreporter.write_line("results not saved: give --benchmark-json=FILE")
