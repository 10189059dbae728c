"""`python -m train merge`: verified runs come together; a damaged or ambiguous one stops it before it writes."""

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from msgspec import structs

from study import locks
from study.artifacts import Artifacts, RunFiles
from study.errors import StudyError
from study.files import sha256
from study.record_files import read_record, write_record
from study.records.training import RunRecord
from tests.support.records import search_record
from tests.support.study import edit_json, write_run
from train import __main__ as command
from train import merge

EXPORTS = {"model.onnx", "export.json"}


def write(artifacts: Artifacts, model: str, seed: int, weights: bytes = b"weights") -> RunFiles:
    """A finished run; its checkpoint is not opened here."""
    files = artifacts.run(model, seed)
    write_run(artifacts, model, seed, {})
    files.checkpoint.write_bytes(weights + bytes([seed]))
    record = read_record(files.record, RunRecord, "")
    write_record(files.record, structs.replace(record, checkpoint_sha256=sha256(files.checkpoint)))
    return files


@dataclass(frozen=True)
class Shards:
    """Two folders with three runs of two models, and the one that they are merged into."""

    first: Artifacts
    second: Artifacts
    merged: Artifacts

    def merge(self, *more: Artifacts) -> int:
        folders = [str(artifacts.root) for artifacts in (self.first, self.second, *more)]
        return merge.main([*folders, "--artifacts", str(self.merged.root)])


@pytest.fixture
def shards(tmp_path: Path) -> Shards:
    made = Shards(*(Artifacts(tmp_path / name) for name in ("first", "second", "merged")))
    write(made.first, "baseline", 0)
    write(made.first, "gap", 1)
    write(made.second, "baseline", 1)
    return made


def contents(files: RunFiles) -> dict[str, bytes]:
    """The files of a run by name, without its export."""
    return {path.name: path.read_bytes() for path in files.folder.iterdir() if path.name not in EXPORTS}


def test_the_runs_come_together_byte_for_byte(shards: Shards, capsys: pytest.CaptureFixture[str]) -> None:
    assert shards.merge() == 0
    assert capsys.readouterr().out == f"merged 3 runs into {shards.merged.root}; next: `python -m export`\n"
    for source, model, seed in (
        (shards.first, "baseline", 0),
        (shards.first, "gap", 1),
        (shards.second, "baseline", 1),
    ):
        merged = contents(shards.merged.run(model, seed))
        assert merged == contents(source.run(model, seed))
        assert set(merged) == {"run.json", "checkpoint.pt", "history.csv", "predictions.csv"}
    assert not any(EXPORTS & {path.name for path in files.folder.iterdir()} for files in shards.merged.runs("baseline"))


def test_what_is_there_is_not_written_again(shards: Shards, capsys: pytest.CaptureFixture[str]) -> None:
    shards.merge()
    records = [files.record for model in ("baseline", "gap") for files in shards.merged.runs(model)]
    before = [path.stat().st_mtime_ns for path in records]
    capsys.readouterr()
    assert shards.merge(shards.merged) == 0
    assert "merged 0 runs into" in (said := capsys.readouterr().out)
    assert "3 were there already" in said
    assert [path.stat().st_mtime_ns for path in records] == before


def test_the_same_result_with_other_times_is_the_same_run(shards: Shards) -> None:
    """Of the same run on two machines the first is taken."""
    edit_json(write(shards.second, "baseline", 0).record, seconds=99.0)
    assert shards.merge() == 0
    assert contents(shards.merged.run("baseline", 0)) == contents(shards.first.run("baseline", 0))


def test_two_results_of_a_run_are_refused(shards: Shards) -> None:
    files = write(shards.second, "baseline", 0, b"others")
    expected = (
        rf"^{files.folder}: expected the same run as in {shards.first.root}/models/baseline/seed0, found another "
    )
    with pytest.raises(StudyError, match=expected + r"\(checkpoint_sha256 of run.json differ\); nothing was merged"):
        shards.merge()
    assert not shards.merged.root.exists()


def test_another_result_in_the_output_folder_stays(shards: Shards) -> None:
    files = write(shards.merged, "gap", 1, b"others")
    before = contents(files)
    with pytest.raises(StudyError, match="nothing was merged; leave one of the two folders out"):
        shards.merge()
    assert contents(files) == before
    assert not shards.merged.runs("baseline")


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


DAMAGES: dict[str, Callable[[RunFiles], object]] = {
    "a flipped bit in checkpoint.pt": lambda files: flip(files.checkpoint),
    "a flipped bit in history.csv": lambda files: flip(files.history),
    "a flipped bit in predictions.csv": lambda files: flip(files.predictions),
    "a missing checkpoint.pt": lambda files: files.checkpoint.unlink(),
    "a changed number in run.json": lambda files: files.record.write_text(
        files.record.read_text().replace('"seconds": ', '"seconds": 1')
    ),
    "the run of another seed": lambda files: edit_json(files.record, seed=5),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_run_stops_the_merge(damage: str, shards: Shards) -> None:
    files = shards.second.run("baseline", 1)
    DAMAGES[damage](files)
    remedy = f"nothing was merged; run `python -m train baseline --seeds 1 --artifacts {shards.second.root} --fresh`"
    with pytest.raises(StudyError) as error:
        shards.merge()
    assert str(error.value).startswith(f"{files.folder}/")
    assert str(error.value).endswith(remedy)
    assert not shards.merged.root.exists()


def test_a_damaged_run_in_the_output_folder_is_replaced(shards: Shards) -> None:
    shards.merge()
    files = shards.merged.run("gap", 1)
    flip(files.checkpoint)
    assert shards.merge() == 0
    assert contents(files) == contents(shards.first.run("gap", 1))


def test_an_unfinished_run_is_named_and_left(shards: Shards, capsys: pytest.CaptureFixture[str]) -> None:
    """Unless another folder has it finished, or that of the output."""
    write(shards.merged, "gap", 2)
    for model, seed in (("baseline", 2), ("gap", 1), ("gap", 2)):
        unfinished = shards.second.run(model, seed)
        unfinished.folder.mkdir(parents=True)
        unfinished.resume.write_bytes(b"state")
    assert shards.merge() == 1
    printed = capsys.readouterr()
    go_on = f"run `python -m train baseline --seeds 2 --artifacts {shards.second.root}`"
    assert printed.err == f"{shards.second.run('baseline', 2).folder}: unfinished, left there; {go_on}\n"
    assert "merged 3 runs" in printed.out
    assert not shards.merged.run("baseline", 2).folder.exists()


def test_a_run_that_another_command_makes_is_waited_for(
    shards: Shards, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """And is not replaced: it gives another result here."""
    files = shards.merged.run("gap", 1)
    lock = locks.take(locks.of_folder(files.folder))
    assert lock is not None

    def finish(seconds: float) -> None:
        write(shards.merged, "gap", 1, b"others")
        locks.release(lock)

    monkeypatch.setattr("study.locks.time.sleep", finish)
    with pytest.raises(StudyError, match="expected the same run as in"):
        shards.merge()
    assert f"process {os.getpid()} writes {files.folder}: waiting for it" in capsys.readouterr().out
    assert files.checkpoint.read_bytes().startswith(b"others")


def test_a_run_that_another_command_has_just_made_is_not_replaced(
    shards: Shards, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was not there when the merge began, and its lock is free again. The message counts what was merged before."""

    @contextmanager
    def just_made(folder: Path) -> Iterator[None]:
        if folder == shards.merged.run("gap", 1).folder:
            write(shards.merged, "gap", 1, b"others")
        with locks.folder_held(folder):
            yield

    monkeypatch.setattr(merge, "folder_held", just_made)
    with pytest.raises(StudyError, match="; 1 of 3 runs were merged before; leave one of the two folders out"):
        shards.merge()
    assert shards.merged.run("gap", 1).checkpoint.read_bytes().startswith(b"others")
    assert contents(shards.merged.run("baseline", 0)) == contents(shards.first.run("baseline", 0))


def test_a_run_json_that_is_changed_after_it_was_verified_is_not_copied(
    shards: Shards, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, merged = shards.first.run("gap", 1), shards.merged.run("gap", 1)
    verified = source.record.read_bytes()

    @contextmanager
    def changed(folder: Path) -> Iterator[None]:
        source.record.write_bytes(b"{}")
        yield

    monkeypatch.setattr(merge, "folder_held", changed)
    shards.merge()
    assert merged.record.read_bytes() == verified


def test_an_interrupted_merge_leaves_an_unfinished_run_and_goes_on(
    shards: Shards, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(path: Path, record: RunRecord) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(merge, "write_record", stop)
        with pytest.raises(KeyboardInterrupt):
            shards.merge()
    first = shards.merged.run("baseline", 0)
    assert first.checkpoint.exists()
    assert not first.record.exists()
    assert shards.merge() == 0
    assert contents(first) == contents(shards.first.run("baseline", 0))


def test_the_record_of_a_search_comes_along_and_another_one_is_refused(shards: Shards) -> None:
    write_record(shards.first.search("gap"), search_record("gap"))
    assert shards.merge() == 0
    assert shards.merged.search("gap").read_bytes() == shards.first.search("gap").read_bytes()
    assert shards.merge() == 0
    write_record(shards.second.search("gap"), search_record("gap", trial_epochs=9))
    with pytest.raises(StudyError, match=f"^{shards.second.search('gap')}: expected the same search as "):
        shards.merge()


def test_a_folder_without_runs_is_refused(shards: Shards, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["train", "merge", str(shards.first.root), str(shards.first.root / "models")])
    with pytest.raises(StudyError, match=r"models: expected the --artifacts of a training, found no run"):
        command.main()
