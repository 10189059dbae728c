"""Shared fixtures: the real data set, trained and exported models, a report, and a machine without data sources."""

import fcntl
import os
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from study import pictures
from study.artifacts import Artifacts
from study.data import fashion_mnist
from study.data.cache import VARIABLE
from tests.support.study import analyse, layers, write_run, write_study

DRAWN = pictures.drawn
ROOT = Path(__file__).parent.parent
# A shell that runs the tests in the background ignores Ctrl-C, and every process they start would inherit that.
signal.signal(signal.SIGINT, signal.default_int_handler)
# pytest-xdist marks its workers in the environment; the commands under test must not inherit that (pytest bench stops).
for _name in ("PYTEST_XDIST_WORKER", "PYTEST_XDIST_WORKER_COUNT", "PYTEST_XDIST_TESTRUNUID"):
    os.environ.pop(_name, None)
Serve = Callable[[dict[str, bytes]], str]


@pytest.fixture(scope="session")
def data() -> Path:
    """The real Fashion-MNIST, laid out as torchvision reads it; fetched in the first session, then kept."""
    return fashion_mnist.prepare(ROOT / "artifacts" / "data")


@pytest.fixture
def bare_machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, data: Path) -> Path:
    """A machine without mirrors, commands or STUDY_DATA; returns the folder in which a test may put a command.

    Depends on `data`, because preparing that may need all of them.
    """
    monkeypatch.setattr(fashion_mnist, "MIRRORS", ())
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.delenv(VARIABLE, raising=False)
    (tmp_path / "bin").mkdir()
    return tmp_path / "bin"


@pytest.fixture
def serve() -> Iterator[Serve]:
    """Start a local mirror with the given files (it stays silent for an empty one); returns its URL."""
    servers = []
    end = threading.Event()

    def start(files: dict[str, bytes]) -> str:
        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                body = files.get(self.path[1:])
                if body == b"":
                    end.wait(30)
                elif body is None:
                    self.send_error(404)
                else:
                    self.send_response(200)
                    self.send_header("Content-Length", str(len(body)))
                    self.end_headers()
                    self.wfile.write(body)

            def log_message(self, *_: Any) -> None:
                """Nothing: the test looks at standard error."""

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=server.serve_forever, args=(0.01,)).start()
        servers.append(server)
        return f"http://127.0.0.1:{server.server_port}/"

    yield start
    end.set()
    for server in servers:
        server.shutdown()
        server.server_close()


def once_a_session(
    request: pytest.FixtureRequest, factory: pytest.TempPathFactory, name: str, make: Callable[[Path], None]
) -> Path:
    """A folder called `name` that `make` fills, once for all workers of pytest-xdist."""
    shared = factory.getbasetemp()
    if hasattr(request.config, "workerinput"):
        shared = shared.parent  # a worker's own base is a folder in the session's
    folder, made = shared / name, shared / f"{name}.made"
    with (shared / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not made.exists():
            shutil.rmtree(folder, ignore_errors=True)  # of a worker that failed
            folder.mkdir()
            make(folder)
            made.touch()
    return folder


@dataclass(frozen=True)
class Trained:
    """Two models of the catalogue, trained for one epoch on the real images and exported, by the real commands."""

    artifacts: Artifacts
    log: str

    def copy(self, folder: Path) -> Artifacts:
        """A copy of all but the data, for a test that changes something."""
        shutil.copytree(self.artifacts.root, folder, symlinks=True)
        return Artifacts(folder)


def run(*words: str | Path, **options: Any) -> subprocess.CompletedProcess[str]:
    """`python -m WORDS ...` from the project's folder, as a user runs it."""
    command = [sys.executable, "-m", *map(str, words)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=600, **options)


@pytest.fixture(scope="session")
def trained(request: pytest.FixtureRequest, data: Path, tmp_path_factory: pytest.TempPathFactory) -> Trained:
    """`baseline` and `gap`, once a session; a test that changes a file works on a copy."""

    def make(folder: Path) -> None:
        root = folder / "artifacts"
        root.mkdir()
        (root / "data").symlink_to(data)
        training = run("train", "baseline", "gap", "--seeds", "0", "--epochs", "1", "--artifacts", root)
        assert training.returncode == 0, training.stderr
        export = run("export", "baseline", "gap", "--artifacts", root)
        assert export.returncode == 0, export.stderr
        (folder / "log.txt").write_text(training.stdout + export.stdout)

    folder = once_a_session(request, tmp_path_factory, "trained", make)
    return Trained(Artifacts(folder / "artifacts"), (folder / "log.txt").read_text())


@pytest.fixture(scope="session", autouse=True)
def undrawn() -> Iterator[None]:
    """Reports have blank pictures, because drawing takes most of their time; see `drawing`."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            pictures, "drawn", lambda draw, suffixes=pictures.FORMATS, small=False: dict.fromkeys(suffixes, b"")
        )
        yield


@pytest.fixture
def drawing(monkeypatch: pytest.MonkeyPatch) -> None:
    """This test's reports have their pictures, as users get them."""
    monkeypatch.setattr(pictures, "drawn", DRAWN)


@pytest.fixture(scope="session")
def reported(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str, str]:
    """An artifacts folder with its report, and the command's output."""
    root = tmp_path_factory.mktemp("artifacts")
    write_study(Artifacts(root))
    return (root, *analyse(root))


@pytest.fixture
def artifacts(tmp_path: Path) -> Artifacts:
    """An artifacts folder with one run of the baseline and nothing else."""
    artifacts = Artifacts(tmp_path / "artifacts")
    write_run(artifacts, "baseline", 0, layers(0))
    return artifacts
