"""Bring the finished runs of several folders together: `python -m train merge FOLDER ... --artifacts DIR`.

Every file is compared with its digest before anything is written: one that is damaged, or two different results of the
same run, and nothing is merged. Unfinished runs stay where they are, as do exports, which `python -m export` makes.
Of a search only search.json is copied, for the report; it continues where its storage is.
"""

import argparse
import shlex
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from study.artifacts import DEFAULT_ROOT, Artifacts, RunFiles
from study.command_line import Parser
from study.errors import StudyError
from study.files import read_plain, write_bytes
from study.locks import folder_held
from study.record_files import read_record, write_record
from study.records.training import RunRecord, SearchRecord
from study.verified import damaged_file

RESULTS = ("network", "network_sha256", "recipe", "dataset", "checkpoint_sha256", "predictions_sha256")
"""Fields of run.json that are the same if the same run is made twice; times are not, nor is history.csv with them."""


@dataclass(frozen=True)
class Run:
    """A finished run whose files are those that its run.json describes."""

    files: RunFiles
    record: RunRecord


def arguments(words: Sequence[str]) -> argparse.Namespace:
    parser = Parser(prog="python -m train merge", description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("folders", nargs="+", type=Path, metavar="FOLDER", help="the --artifacts of a training")
    parser.add_argument(
        "--artifacts", type=Path, default=DEFAULT_ROOT, metavar="DIR", help="output folder (default: %(default)s)"
    )
    return parser.parse_args(words)


def main(words: Sequence[str]) -> int:
    """Run the command.

    Returns:
        The exit code: 1 if a run is unfinished, in all of the folders where it is and in the output folder.
    """
    options = arguments(words)
    artifacts = Artifacts(options.artifacts)
    runs, unfinished = finished(options.folders)
    new = [run for run in runs if not _there(run, artifacts, "nothing was merged")]
    unfinished = [files for files in unfinished if not artifacts.run(files.model, files.seed).record.exists()]
    searches = _new_searches(options.folders, artifacts)
    merged = 0
    for run in new:
        to = artifacts.run(run.files.model, run.files.seed)
        with folder_held(to.folder):
            if not _there(run, artifacts, f"{merged} of {len(new)} runs were merged before"):  # made meanwhile
                copy(run, to)
                merged += 1
    for path, search in searches.items():
        write_record(path, search)
    for files in unfinished:
        print(f"{files.folder}: unfinished, left there; run `{_train(files)}`", file=sys.stderr)
    there = f", {len(runs) - merged} were there already" if merged < len(runs) else ""
    also = f", and {len(searches)} search.json" if searches else ""
    print(f"merged {merged} runs into {artifacts.root}{there}{also}; next: `python -m export`")
    return 1 if unfinished else 0


def finished(folders: Sequence[Path]) -> tuple[list[Run], list[RunFiles]]:
    """The finished runs in these folders, each once, and the unfinished ones that are finished in none of them.

    Raises:
        StudyError: a folder has neither, a run is damaged, or two results of the same run differ.
    """
    runs: dict[tuple[str, int], Run] = {}
    unfinished: dict[tuple[str, int], RunFiles] = {}
    for folder in folders:
        listed = list(_listed(folder))
        if not listed:
            raise StudyError(f"{folder}: expected the --artifacts of a training, found no run (models/MODEL/seed0)")
        for files in listed:
            key = files.model, files.seed
            if files.record.exists():
                run = whole(files)
                _refuse_other(runs.setdefault(key, run), run, "nothing was merged")
            else:
                unfinished.setdefault(key, files)
    return list(runs.values()), [files for key, files in unfinished.items() if key not in runs]


def _listed(folder: Path) -> Iterator[RunFiles]:
    """The runs in a folder, finished or not."""
    for path in sorted(folder.glob("models/*/seed*")):
        seed = path.name.removeprefix("seed")
        if seed.isdecimal() and path.is_dir() and any(path.iterdir()):
            yield RunFiles(path, path.parent.name, int(seed))


def whole(files: RunFiles) -> Run:
    """A finished run, all of whose files are verified.

    Raises:
        StudyError: one is missing or damaged, or it is another run.
    """
    remedy = f"nothing was merged; run `{_train(files)} --fresh`"
    record = read_record(files.record, RunRecord, remedy)
    found = f"{record.model} seed {record.seed}"
    if (record.model, record.seed) != (files.model, files.seed):
        raise StudyError(f"{files.record}: expected {files.model} seed {files.seed}, found {found}; {remedy}")
    if path := damaged_file(files, record):
        raise StudyError(f"{path}: expected the file that run.json describes, found another or none; {remedy}")
    return Run(files, record)


def _there(run: Run, artifacts: Artifacts, until_now: str) -> bool:
    """Whether the run is in the output folder; one that is unfinished or damaged there is replaced.

    Args:
        until_now: what has been merged, for the message.

    Raises:
        StudyError: another result of it is there.
    """
    files = artifacts.run(run.files.model, run.files.seed)
    if not files.record.exists():
        return False
    try:
        there = whole(files)
    except StudyError:
        return False
    _refuse_other(there, run, until_now)
    return True


def _refuse_other(first: Run, second: Run, until_now: str) -> None:
    if differing := [name for name in RESULTS if getattr(first.record, name) != getattr(second.record, name)]:
        raise StudyError(
            f"{second.files.folder}: expected the same run as in {first.files.folder}, found another "
            f"({', '.join(differing)} of run.json differ); {until_now}; leave one of the two folders out, or "
            "merge into another one with --artifacts DIR"
        )


def copy(run: Run, to: RunFiles) -> None:
    """Write the files of a run, run.json last: one that is interrupted here is unfinished, and is merged again.

    Raises:
        StudyError: a file was changed after it was verified.
    """
    to.record.unlink(missing_ok=True)
    source = run.files
    for path, target in (
        (source.checkpoint, to.checkpoint),
        (source.history, to.history),
        (source.predictions, to.predictions),
    ):
        write_bytes(target, read_plain(path, None))
    if changed := damaged_file(to, run.record):
        raise StudyError(f"{changed}: expected the verified file, found another: it was changed meanwhile; merge again")
    write_record(to.record, run.record)  # not source.record, which may have been changed since
    to.resume.unlink(missing_ok=True)


def _new_searches(folders: Sequence[Path], artifacts: Artifacts) -> dict[Path, SearchRecord]:
    """Each search.json that the output folder lacks, by the path it gets there.

    Raises:
        StudyError: one is damaged, or two searches of a model differ.
    """
    new: dict[Path, SearchRecord] = {}
    first: dict[Path, tuple[Path, SearchRecord]] = {}
    for source in (path for folder in folders for path in sorted(folder.glob("search/*/search.json"))):
        path = artifacts.search(source.parent.name)
        search = read_record(source, SearchRecord, "nothing was merged; search again, or delete it")
        if path.exists():
            first[path] = path, read_record(path, SearchRecord, "nothing was merged; delete it")
        elif path not in first:
            first[path], new[path] = (source, search), search
        if first[path][1] != search:
            raise StudyError(
                f"{source}: expected the same search as {first[path][0]}, found another; nothing was merged; "
                "delete one of them"
            )
    return new


def _train(files: RunFiles) -> str:
    """The command that makes this run, where it is."""
    root = files.folder.parent.parent.parent
    words = ["python", "-m", "train", files.model, "--seeds", str(files.seed), "--artifacts", str(root)]
    return shlex.join(words)
