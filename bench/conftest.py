"""Options of `pytest bench`, the cases they ask for, and what is added to pytest-benchmark's JSON."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from bench.cases import Case, find_cases
from bench.runtimes import RUNTIMES
from study import catalogue, fashion_mnist
from study.artifacts import DEFAULT_ROOT, Artifacts
from study.environment import environment
from study.errors import StudyError

NULL_TEST = "test_null"
TARGET = pytest.StashKey[Path]()
CASES = pytest.StashKey[list[Case]]()


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("fashionbench")
    group.addoption("--models", default="", metavar="A,B", help="models of the catalogue (default: the study's)")
    group.addoption("--runtimes", default=",".join(RUNTIMES), metavar="A,B", help="default: %(default)s")
    group.addoption("--batches", default="1,32,256", metavar="N,M", help="images a call (default: %(default)s)")
    group.addoption("--threads", default="1", metavar="N,M", help="threads of each engine (default: %(default)s)")
    group.addoption("--artifacts", default=DEFAULT_ROOT, type=Path, metavar="DIR", help="default: %(default)s")
    group.addoption("--data", default=None, type=Path, metavar="DIR", help="folder with the Fashion-MNIST files")
    group.addoption("--quick", action="store_true", help="few samples, marked as not valid: is everything in place?")


def pytest_configure(config: pytest.Config) -> None:
    """Make sure now that the JSON can be written: pytest-benchmark opens it only when all has been measured.

    It is written beside its place, and moved there by a session that was not cut short: what an earlier session has
    measured is then not replaced by a part.
    """
    target = config.option.benchmark_json
    if target is None:
        return
    if target.is_dir():
        raise pytest.UsageError(f"--benchmark-json: expected the name of a file, {target} is a folder")
    partial = target.with_name(f"{target.name}.partial")
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
    try:
        session.config.stash[CASES] = _cases(session.config)
    except StudyError as error:
        pytest.exit(f"error: {error}", returncode=2)


@pytest.hookimpl(wrapper=True)
def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> Iterator[None]:
    """Once pytest-benchmark has written its file, move it to its place if all cases were measured."""
    yield
    partial, target = session.config.option.benchmark_json, session.config.stash.get(TARGET, None)
    if target is not None and partial.is_file() and exitstatus == pytest.ExitCode.OK:
        partial.replace(target)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "case" in metafunc.fixturenames:
        cases: list[Case] = metafunc.config.stash[CASES]
        metafunc.parametrize("case", cases, ids=str)


def _cases(config: pytest.Config) -> list[Case]:
    runtimes = _words(config, "runtimes")
    for name in runtimes:
        if name not in RUNTIMES:
            raise StudyError(f"no runtime is called {name!r}; there are: {', '.join(RUNTIMES)}")
    entries = catalogue.select([name for name in config.getoption("models").split(",") if name])
    artifacts = Artifacts(config.getoption("artifacts"))
    cases = find_cases(artifacts, entries, runtimes, _numbers(config, "batches"), _numbers(config, "threads"))
    if not config.option.collectonly:
        fashion_mnist.prepare(artifacts.data, config.getoption("data"))
    return cases


def _words(config: pytest.Config, option: str) -> list[str]:
    return list(dict.fromkeys(config.getoption(option).split(",")))


def _numbers(config: pytest.Config, option: str) -> list[int]:
    words = _words(config, option)
    if not all(word.isdecimal() and int(word) > 0 for word in words):
        raise StudyError(f"--{option}: expected numbers from 1 with commas between them, found {','.join(words)!r}")
    return [int(word) for word in words]


@pytest.fixture
def quick(request: pytest.FixtureRequest) -> bool:
    return bool(request.config.getoption("quick"))


def pytest_benchmark_update_json(config: pytest.Config, benchmarks: list[Any], output_json: dict[str, Any]) -> None:
    """Add the block `study`; called once for each file pytest-benchmark writes."""
    null = [b["stats"]["median"] for b in output_json["benchmarks"] if b["name"] == NULL_TEST]
    output_json["study"] = {
        "schema": "bench/1",
        "environment": environment(),
        "harness_overhead_seconds": null[0] if null else None,
    }


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Say in words what should not be believed, and where the numbers went."""
    session = config._benchmarksession  # type: ignore[attr-defined]  # pytest-benchmark has no public name for it
    for benchmark in session.benchmarks:
        if reasons := benchmark.extra_info.get("reasons"):
            terminalreporter.write_line(f"not valid: {benchmark.name}: {'; '.join(reasons)}")
    target = config.stash.get(TARGET, None)
    if target is not None and session.benchmarks:
        partial = session.json.exists()  # it was not moved
        terminalreporter.write_line(f"not all was measured: wrote {session.json}" if partial else f"wrote {target}")
