"""The sessions in files of `pytest bench`, by the time at which they began."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from study.bench_file import moment, read_dated
from study.errors import StudyError, one_line
from study.files import sha256
from study.record_files import parse
from study.records.bench import BenchRecord

REMEDY = "measure again with `pytest bench --benchmark-json=FILE`, or leave the file out"


@dataclass(frozen=True)
class Session:
    """One file of `pytest bench`."""

    path: Path
    time: datetime
    """With its zone."""
    record: BenchRecord

    @property
    def commit(self) -> str:
        """Eight digits of the commit, with a plus for uncommitted changes; "no commit" outside git."""
        environment = self.record.environment
        return environment.commit[:8] + "+" * bool(environment.dirty) if environment.commit else "no commit"


@dataclass(frozen=True)
class Sessions:
    """All sessions that could be read, in the order of their times."""

    sessions: tuple[Session, ...]
    unreadable: tuple[str, ...]
    """A line for each file that could not be read."""
    remarks: tuple[str, ...] = field(default=())
    """Files that were left out and need not be read."""


def read_sessions(words: Sequence[str]) -> Sessions:
    """The sessions of the files, folders and patterns in `words`; a file of the same content counts once.

    Raises:
        StudyError: a word names no file, or no session can be read.
    """
    sessions: dict[str, Session] = {}
    unreadable, others, copies = [], 0, 0
    for path, named in dict(_files(words)).items():
        if not named and not _of_the_bench(path):
            others += 1
            continue
        try:
            session = read_session(path)
            digest = sha256(path)
        except (StudyError, OSError) as error:
            unreadable.append(one_line(error, 500))
            continue
        copies += digest in sessions
        sessions.setdefault(digest, session)
    if not sessions:
        problem = f"{unreadable[0]} ({len(unreadable)} files)" if unreadable else f"no session in {' '.join(words)}"
        raise StudyError(f"no file of `pytest bench` can be read: {problem}")
    remarks = [f"left out: {copies} with the content of another file"] if copies else []
    remarks += [f"left out: {others} other JSON files in the folders"] if others else []
    ordered = sorted(sessions.values(), key=lambda session: (session.time, str(session.path)))
    return Sessions(tuple(ordered), tuple(unreadable), tuple(remarks))


def read_session(path: Path) -> Session:
    """The session in a file.

    Raises:
        StudyError: as `study.bench_file.read_bench`; or the file has no time, as a journal has none.
    """
    record, text = read_dated(path, REMEDY, older=True)
    if path.suffix == ".journal":
        raise StudyError(f"{path}: the journal of an interrupted session has no time; {REMEDY}")
    if (time := moment(text)) is None:
        raise StudyError(f"{path}: expected a time such as 2026-11-28T21:00:00 in `datetime`, found {text!r}")
    return Session(path, time if time.tzinfo else time.replace(tzinfo=UTC), record)


def _files(words: Sequence[str]) -> Iterator[tuple[Path, bool]]:
    """Each file, and whether it was named itself or by a pattern rather than with its folder."""
    for word in words:
        path = Path(word)
        if path.is_dir():
            yield from ((file, False) for file in sorted(path.rglob("*.json")) if file.is_file())
        elif path.exists():
            yield path, True
        elif matches := sorted(
            Path(path.anchor).glob(str(path.relative_to(path.anchor)))
        ):  # a pattern that no shell expanded
            for match in matches:
                yield from _files([str(match)])
        else:
            raise StudyError(f"{word}: expected a file, a folder or a pattern of files, found nothing of that name")


def _of_the_bench(path: Path) -> bool:
    """Whether a JSON file looks like one of `pytest bench`, of whichever version, or cannot be read at all."""
    try:
        content = parse(path, REMEDY)
    except StudyError:
        return True
    return isinstance(content, dict) and "study" in content and "benchmarks" in content
