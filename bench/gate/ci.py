"""The gate of a CI job: measure ONNX files beside their baseline, and report to GitHub Actions.

The baseline of a file is an older one, which is measured in turns with it (`python -m bench ab`), or a stored result of
`pytest bench`, which is compared with (`python -m bench compare`).
"""

import os
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from study import children
from study.errors import StudyError, printable

PROJECT = Path(__file__).resolve().parents[2]
VERDICTS: Mapping[int, str] = {0: "passed", 1: "failed", 3: "undecided"}


@dataclass(frozen=True)
class Job:
    """What the inputs of action.yml ask for."""

    onnx: tuple[Path, ...]
    baseline: str
    """A result of `pytest bench` (.json), a folder, an ONNX file, or a commit or branch of the repository."""
    limit: str
    processes: str
    words: tuple[str, ...]
    """Further options of `bench ab`, or of `pytest bench` if the baseline is a stored result."""
    folder: Path
    """Where the results are written."""


@dataclass(frozen=True)
class Outcome:
    """The exit codes of the gates of a job, and their text."""

    codes: tuple[int, ...]
    markdown: str
    file: Path
    """What was measured: bench.json of a stored baseline, else the folder of the records of `bench ab`."""

    @property
    def code(self) -> int:
        """The worst: a mistake, shown slower, undecided, passed."""
        return next((code for code in (130, 2, 1, 3) if code in self.codes), 0 if self.codes else 3)


def run_job(job: Job) -> Outcome:
    """Run the gates of a job, one a file, or one for a stored baseline.

    Raises:
        StudyError: there is no such baseline, or a command that measures failed.
    """
    job.folder.mkdir(parents=True, exist_ok=True)
    if job.baseline.endswith(".json"):
        return _against_stored(job)
    codes, texts = [], []
    with _older_files(job) as older:
        for n, (new, old) in enumerate(zip(job.onnx, older, strict=True)):
            texts.append(f"### {printable(new.name)}\n")
            if old is None:
                texts.append(f"- new: not in {job.baseline}, so it has nothing to be slower than\n")
                codes.append(0)
                continue
            record = job.folder / f"{new.stem}-{n}.json"
            words = ["ab", str(old), str(new), "--processes", job.processes, "--fail-above", job.limit]
            done = _project("bench", [*words, "--format", "markdown", "--json", str(record), *job.words])
            codes.append(done.returncode if done.stdout else 2)  # a crash of Python ends with code 1 too
            texts.append(done.stdout or f"- ended with code {done.returncode}: see the log of the job\n")
    return Outcome(tuple(codes), "\n".join(texts), job.folder)


def _against_stored(job: Job) -> Outcome:
    old, new = Path(job.baseline).resolve(), job.folder / "bench.json"
    if not old.is_file():
        raise StudyError(f"the baseline {old} is missing; store what `pytest bench --benchmark-json=FILE` writes there")
    words = ["--onnx", *map(str, job.onnx), "--runtimes", "onnxruntime"]  # the action installs no other
    words += ["--processes", job.processes, f"--benchmark-json={new}", *job.words]
    measured = _project("pytest", [str(PROJECT / "bench"), *words], to_log=True)
    if measured.returncode and not new.is_file():
        raise StudyError(f"`pytest bench` ended with code {measured.returncode}; see its output above")
    done = _project("bench", ["compare", str(old), str(new), "--fail-above", job.limit, "--format", "markdown"])
    return Outcome((done.returncode if done.stdout else 2,), done.stdout, new)


def _project(module: str, words: Sequence[str], to_log: bool = False) -> subprocess.CompletedProcess[str]:
    """Run a module of this project in the job's own folder; its standard output is captured, or goes to the log."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(PROJECT), os.environ.get("PYTHONPATH", "")])}
    command = [sys.executable, "-m", module, *words]
    print("+", *command[1:], file=sys.stderr, flush=True)
    return children.run(command, stdout=sys.stderr if to_log else subprocess.PIPE, text=True, env=environment)


def expand(patterns: str) -> tuple[Path, ...]:
    """The files that lines of paths or patterns such as `models/**/*.onnx` mean, in order, each once.

    Raises:
        StudyError: a line means no file.
    """
    found: list[Path] = []
    for line in filter(None, map(str.strip, patterns.splitlines())):
        path = Path(line)
        base, pattern = (
            (Path(path.anchor), str(path.relative_to(path.anchor))) if path.is_absolute() else (Path(), line)
        )
        files = sorted(it.resolve() for it in base.glob(pattern) if it.is_file())
        if not files:
            raise StudyError(f"onnx: expected files, found none at {line!r} in {Path.cwd()}")
        found += files
    if not found:
        raise StudyError("onnx: expected paths or patterns of ONNX files, one a line")
    return tuple(dict.fromkeys(found))


@contextmanager
def _older_files(job: Job) -> Iterator[list[Path | None]]:
    """The baseline of each file; None of one that is new."""
    if not job.baseline.strip():  # Path("") would be the working directory: each file its own baseline
        raise StudyError(
            "baseline: expected a commit, branch, folder or file; this event names none, so give `baseline`"
        )
    given = Path(job.baseline)
    if given.is_dir():
        candidates = [[given / it.relative_to(Path.cwd().resolve())] if _inside(it) else [] for it in job.onnx]
        yield [_first([*places, given / it.name]) for places, it in zip(candidates, job.onnx, strict=True)]
    elif given.is_file():
        if len(job.onnx) > 1:
            raise StudyError(f"baseline: expected a folder for {len(job.onnx)} ONNX files, found the file {given}")
        yield [given.resolve()]
    else:
        with _checkout(job.baseline, job.folder / "baseline") as checkout:
            top = Path(_git("rev-parse", "--show-toplevel"))
            yield [_first([checkout / it.relative_to(top)]) if it.is_relative_to(top) else None for it in job.onnx]


def _inside(path: Path) -> bool:
    return path.is_relative_to(Path.cwd().resolve())


def _first(paths: Sequence[Path]) -> Path | None:
    return next((path.resolve() for path in paths if path.is_file()), None)


@contextmanager
def _checkout(commit: str, folder: Path) -> Iterator[Path]:
    """A working tree of a commit or branch, fetched if the job's shallow clone lacks it; removed afterwards."""
    if not commit or commit.startswith("-"):
        raise StudyError(f"baseline: expected a .json file, a folder, an ONNX file or a commit, found {commit!r}")
    try:
        known = _git("rev-parse", "--verify", "--quiet", f"{commit}^{{commit}}")
    except StudyError:
        _git("fetch", "--quiet", "--depth=1", "origin", commit)
        known = _git("rev-parse", "FETCH_HEAD")
    _git("worktree", "add", "--quiet", "--force", "--detach", str(folder.resolve()), known)
    try:
        yield folder.resolve()
    finally:
        _git("worktree", "remove", "--force", str(folder.resolve()))


def _git(*words: str) -> str:
    done = subprocess.run(("git", *words), capture_output=True, text=True, check=False)
    if done.returncode:
        lines = done.stderr.strip().splitlines() or ["no message"]
        reason = next((line for line in lines if line.startswith("fatal:")), lines[-1])
        raise StudyError(f"git {words[0]} failed: {reason}; give `baseline` as a file, a folder or a known commit")
    return done.stdout.strip()
