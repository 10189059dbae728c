"""Options of `pytest bench`, the cases they ask for, and what is added to pytest-benchmark's JSON."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from bench.cases import MODES
from bench.plan import find_session
from bench.runtimes import DEFAULT, DEVICES, RUNTIMES
from bench.session import Session, summary
from study.artifacts import DEFAULT_ROOT, read_bench
from study.errors import StudyError
from study.selection import add_options

SESSION = pytest.StashKey[Session]()
TARGET = pytest.StashKey[Path]()


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("fashionbench")
    add = group.addoption
    add("--models", default=None, metavar="A,B", help="models of the catalogue (default: the study's)")
    add_options(add)
    add(
        "--variants",
        default="standard",
        metavar="A,B",
        help="what they were exported as, such as standard,int8-static (default: %(default)s)",
    )
    add("--onnx", nargs="+", action="extend", default=[], type=Path, metavar="FILE", help="any ONNX files instead")
    add("--shape", action="append", default=[], metavar="NAME=N,M", help="shape of an input of those files")
    known = ", ".join(RUNTIMES)
    add("--runtimes", default=",".join(DEFAULT), metavar="A,B", help=f"of {known}, or your own package.module:Class")
    add("--batches", default="1,32,256", metavar="N,M", help="images a call (default: %(default)s)")
    add("--threads", default="1", metavar="N,M", help="threads of each engine; all: as many as there are cores")
    add("--mode", default="native", choices=MODES, help="what is timed: the engine's own types, or from numpy to numpy")
    add("--device", default="cpu", choices=DEVICES, help="default: %(default)s")
    add(
        "--seconds",
        default=2.0,
        type=float,
        metavar="S",
        help="for a case's calls; a comparison takes twice that",
    )
    add("--percentiles", default="50,90,95,99", metavar="P,Q", help="that the calls must suffice for, up to 99.9")
    add("--cold-starts", default=5, type=int, metavar="N", help="fresh processes for each model and runtime; 0: none")
    add("--processes", default=1, type=int, metavar="N", help="measure all in so many processes, one after the other")
    add("--artifacts", default=DEFAULT_ROOT, type=Path, metavar="DIR", help="default: %(default)s")
    add("--data", default=None, type=Path, metavar="DIR", help="folder with the data sets' files")
    add("--quick", action="store_true", help="few samples, marked as not valid: is everything in place?")


def pytest_configure(config: pytest.Config) -> None:
    """Make sure now that the JSON can be written: pytest-benchmark opens it only when all has been measured.

    It is written beside its place, and moved there by a session that was not cut short: what an earlier session has
    measured is then not replaced by a part.
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
    """Find the cases before anything is collected, where a mistake can be told in one line."""
    config = session.config
    try:
        config.stash[SESSION] = found = find_session(config.option, config.invocation_params.args)
        if not config.option.collectonly and TARGET in config.stash:
            found.begin_journal(config.stash[TARGET])
    except StudyError as error:
        pytest.exit(f"error: {error}", returncode=2)
    except OSError as error:  # of the journal
        pytest.exit(f"error: {error.filename}: {error.strerror}", returncode=2)


@pytest.hookimpl(wrapper=True)
def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> Iterator[None]:
    """Once pytest-benchmark has written its file, move it to its place if all was measured."""
    yield
    partial, target = session.config.option.benchmark_json, session.config.stash.get(TARGET, None)
    found = session.config.stash.get(SESSION, None)
    if found is None:
        return
    if target is not None and partial.is_file():
        if exitstatus == pytest.ExitCode.OK:
            read_bench(partial, "")  # what does not fit its schema is a fault of this program, and replaces nothing
            with partial.open("rb") as file:
                os.fsync(file.fileno())
            partial.replace(target)
            found.whole = True
            for part in found.parts:
                part.unlink(missing_ok=True)
        else:
            partial.unlink()
    found.journal("end", {"exit_status": int(exitstatus)})


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
    """Drop what pytest makes of a test for which there is nothing: a test that is skipped."""
    items[:] = [item for item in items if item.get_closest_marker("skip") is None]


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Iterator[None]:
    """Tell a mistake that is found only now in its one line, without pytest's traceback."""
    try:
        return (yield)
    except StudyError as error:
        pytest.fail(f"error: {error}", pytrace=False)


@pytest.fixture(name="session", scope="session")
def _session(request: pytest.FixtureRequest) -> Session:
    return request.config.stash[SESSION]


def pytest_benchmark_update_json(config: pytest.Config, benchmarks: list[Any], output_json: dict[str, Any]) -> None:
    """Add the block `study`; called once for each file pytest-benchmark writes."""
    session = config.stash[SESSION]
    for benchmark in output_json["benchmarks"]:
        if benchmark["extra_info"]:
            benchmark["extra_info"] = session.merged_case(benchmark["extra_info"])
    output_json["study"] = session.study()


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Say in words what was found, what should not be believed, and where the numbers went."""
    session, target = config.stash.get(SESSION, None), config.stash.get(TARGET, None)
    if session is None:
        return
    for line in summary(session):
        terminalreporter.write_line(line)
    if target is not None and session.path is not None:
        if session.whole:
            terminalreporter.write_line(f"wrote {target}")
        else:
            terminalreporter.write_line(f"not all was measured: {session.path} has what was")
    elif not config.option.collectonly:
        terminalreporter.write_line("nothing of this was kept: give --benchmark-json=FILE")
