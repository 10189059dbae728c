"""One finished run, read from its files and checked.

Numbers are only put side by side when they belong together: the predictions must be as often wrong as run.json says,
and an ONNX file must be the one that its record describes, made from the checkpoint whose errors are reported.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import msgspec
import numpy as np
from numpy.typing import NDArray

from analysis.measures.pruning import current
from analysis.weights.layers import Layer, read
from study.artifacts import HISTORY, PREDICTIONS, RunFiles, current_export
from study.errors import StudyError
from study.files import read_plain, verify, why
from study.record_files import read_record
from study.records.analysis import PruningRecord
from study.records.export import ExportRecord
from study.records.training import EpochRecord, RunRecord
from study.variants import STANDARD

PREDICTION = re.compile("[0-9]{1,9},[0-9]{1,9}")


@dataclass(frozen=True)
class Run:
    """A finished run, and its export if it has one."""

    files: RunFiles
    record: RunRecord
    history: tuple[EpochRecord, ...]
    labels: NDArray[np.unsignedinteger]
    """Class of every test image."""
    predicted: NDArray[np.unsignedinteger]
    """The class that the run predicts."""
    exports: tuple[ExportRecord, ...] = ()
    """The standard one first, then its other variants; none where it has not been exported."""
    layers: tuple[Layer, ...] = ()
    """Fully-connected layers of the ONNX file."""
    pruning: PruningRecord | None = None
    """None also where it has no such layers or was not measured."""
    notes: tuple[str, ...] = ()
    """Which of its files are left out, and why."""

    @property
    def wrong(self) -> NDArray[np.bool_]:
        """Whether the run predicts another class than that of the image."""
        wrong: NDArray[np.bool_] = np.not_equal(self.predicted, self.labels)
        return wrong

    @property
    def model(self) -> str:
        return self.record.model

    @property
    def seed(self) -> int:
        return self.record.seed

    @property
    def export(self) -> ExportRecord | None:
        """The standard one."""
        return self.exports[0] if self.exports else None

    @property
    def onnx_sha256(self) -> str | None:
        """Of the standard export."""
        return self.export.onnx_sha256 if self.export else None

    @property
    def kept_epoch(self) -> int:
        """The epoch whose weights it kept."""
        return self.record.kept_epoch or self.record.epochs


def read_run(files: RunFiles) -> Run:
    """The run in `files.folder` with its exports; a stale export of another variant is left out.

    Raises:
        StudyError: a file is missing, damaged or not of the same run as its neighbours.
    """
    exports, notes = [current_export(files)], []
    for variant in files.variants():
        if variant != STANDARD:
            try:
                exports.append(current_export(files.of(variant)))
            except StudyError as error:
                notes.append(f"left out: {error}")
    return replace(
        read_training(files),
        exports=tuple(exports),
        layers=read(files.onnx).layers,
        pruning=current(files),
        notes=tuple(notes),
    )


def read_training(files: RunFiles) -> Run:
    """The training alone, which need not have been exported.

    Raises:
        StudyError: as `read_run`.
    """
    retrain = f"run `python -m train {files.model} --fresh`"
    record = read_record(files.record, RunRecord, retrain)
    if (record.model, record.seed) != (files.model, files.seed):
        raise StudyError(
            f"{files.record}: expected {files.model} with seed {files.seed}, found {record.model} with seed "
            f"{record.seed}; {retrain}"
        )
    history = _read_history(files.history, record, retrain)
    labels, predicted = _read_predictions(files.predictions, retrain)
    wrong = predicted != labels
    if abs(wrong.mean() - record.test_error) > 1e-9:
        raise StudyError(
            f"{files.predictions}: expected the test error of run.json, {record.test_error}, found {wrong.mean()}; "
            f"{retrain}"
        )
    verify(files.predictions, record.predictions_sha256, files.record.name, retrain)
    return Run(files, record, history, labels, predicted)


def same_images(runs: Sequence[Run]) -> None:
    """Check that all runs were tested on the same images.

    Raises:
        StudyError: the labels of one differ from the first one's.
    """
    for run in runs:
        if not np.array_equal(run.labels, runs[0].labels):
            raise StudyError(
                f"{run.files.predictions}: expected the labels of {runs[0].files.predictions}, found others, so the "
                f"runs were not tested on the same images; run `python -m train {run.model} --fresh`"
            )


def _read_history(path: Path, run: RunRecord, remedy: str) -> tuple[EpochRecord, ...]:
    """Every epoch of a run, from 1."""
    history = []
    for n, line in enumerate(_lines(path, HISTORY, remedy), 1):
        try:
            cells = dict(zip(HISTORY, line.split(","), strict=True))
            row = msgspec.convert({key: text for key, text in cells.items() if text}, EpochRecord, strict=False)
        except (ValueError, msgspec.ValidationError):
            row = None
        if row is None or row.epoch != n:
            raise StudyError(f"{path}: expected epoch {n} with {','.join(HISTORY)}, found {line[:120]!r}; {remedy}")
        history.append(row)
    if len(history) != run.epochs:
        raise StudyError(f"{path}: expected the {run.epochs} epochs of run.json, found {len(history)}; {remedy}")
    verify(path, run.history_sha256, "run.json", remedy)
    return tuple(history)


def _read_predictions(path: Path, remedy: str) -> NDArray[np.unsignedinteger]:
    """Labels and predicted classes of the test images: (2, images)."""
    lines = _lines(path, PREDICTIONS, remedy)
    places = {line: n for n, line in enumerate(dict.fromkeys(lines))}  # of 10,000 lines only 100 differ
    damaged = next((line for line in places if not PREDICTION.fullmatch(line)), None)
    if damaged is not None or not lines:
        found = "none" if damaged is None else repr(damaged[:60])
        raise StudyError(f"{path}: expected two classes a row, found {found}; {remedy}")
    pairs = np.array([line.split(",") for line in places], np.int64)
    smallest = pairs.astype(np.min_scalar_type(pairs.max()))  # 1,800 runs keep theirs
    return smallest[[places[line] for line in lines]].T


def _lines(path: Path, columns: Sequence[str], remedy: str) -> list[str]:
    """The rows of a CSV file with these columns.

    Raises:
        StudyError: it is missing, has other columns, or its last row is cut off.
    """
    try:
        text = read_plain(path).decode()
    except FileNotFoundError:
        raise StudyError(f"{path} is missing; {remedy}") from None
    except (OSError, ValueError) as error:
        raise StudyError(f"{path}: {why(error)}; {remedy}") from None
    header, *lines = text.split("\n")
    if header != ",".join(columns):
        raise StudyError(f"{path}: expected the header {','.join(columns)}, found {header[:60]!r}; {remedy}")
    if not lines or lines[-1]:
        raise StudyError(f"{path}: expected whole rows, found one that is cut off, {text[-120:]!r}; {remedy}")
    return lines[:-1]
