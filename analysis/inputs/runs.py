"""What the earlier stages wrote, read and checked: runs, their ONNX files, measurements.

Numbers are only put side by side when they belong together: an ONNX file must be the one its record describes, made
from the checkpoint whose errors are reported, a measurement must be of an ONNX file that is there, and the predictions
of all runs must be of the same test images and as often wrong as their records say.
"""

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from analysis.inputs.benchmarks import Measurements, read_measurements
from analysis.inputs.files import Inputs
from analysis.inputs.portability import Portability, read_portability
from analysis.measures.pruning import current
from analysis.weights.layers import Layer, read
from study import catalogue
from study.artifacts import HISTORY, PREDICTIONS, RunFiles, as_json, current_export, read_json
from study.errors import StudyError
from study.recipe import Recipe, recorded
from study.variants import STANDARD

Search = dict[str, Any]
"""The content of search.json."""
PREDICTION = re.compile("[0-9]{1,9},[0-9]{1,9}")


@dataclass(frozen=True)
class Training:
    """One finished run as it was trained: run.json, history.csv by row, and of predictions.csv what `Run` has."""

    model: str
    seed: int
    record: dict[str, Any]
    history: tuple[dict[str, float | None], ...]
    labels: NDArray[np.int64]
    wrong: NDArray[np.bool_]


@dataclass(frozen=True)
class Run:
    """One finished and exported run: run.json, export.json, history.csv by row, the layers of model.onnx.

    `labels` has the class of every test image, `wrong` whether the run gets it wrong: predictions.csv.
    """

    model: str
    seed: int
    record: dict[str, Any]
    export: dict[str, Any]
    history: tuple[dict[str, float | None], ...]
    labels: NDArray[np.int64]
    wrong: NDArray[np.bool_]
    layers: tuple[Layer, ...]
    pruning: dict[str, Any] | None
    """pruning.json, unless the run has no such layers or was not measured."""


@dataclass(frozen=True)
class Study:
    """All that is reported on. `models` have runs; `baseline` is the first model asked for, which may have none."""

    baseline: str
    models: tuple[str, ...]
    runs: tuple[Run, ...]
    measured: Measurements
    notes: tuple[str, ...]
    """What a reader must know before believing the tables, a sentence each."""
    name: str
    """In the catalogue."""
    searches: tuple[dict[str, Any], ...] = ()
    """search.json of each of the models that has one."""
    portability: Portability | None = None
    """portability.json, if it is there."""
    variants: tuple[dict[str, Any], ...] = ()
    """export-<variant>.json of every other form that a run has been exported in, by run."""


def read_study(inputs: Inputs) -> Study:
    """Read and check every input.

    Raises:
        StudyError: a file is missing, damaged or not of the same run as its neighbours.
    """
    runs = tuple(read_run(files) for files in inputs.runs)
    variants, left_out = read_variants(inputs.runs)
    for files, run in zip(inputs.runs, runs, strict=True):
        if not np.array_equal(run.labels, runs[0].labels):
            raise StudyError(
                f"{files.predictions}: expected the labels of {inputs.runs[0].predictions}, found others, so the runs "
                f"were not tested on the same images; run `python -m train {files.model} --fresh`"
            )
    models = tuple(model for model in inputs.models if model not in inputs.missing)
    onnx_files = {model: {run.export["onnx_sha256"] for run in runs if run.model == model} for model in models}
    others = {record["onnx_sha256"] for record in variants} - {run.export["onnx_sha256"] for run in runs}
    measured = read_measurements(inputs.benches, onnx_files, variants=others)
    missing = []
    if inputs.missing:
        missing.append(
            f"without a finished run and left out: {', '.join(inputs.missing)}; "
            f"run `python -m train {' '.join(inputs.missing)}`"
        )
    searches = tuple(read_search(path) for path in inputs.searches)
    notes = (*missing, *_differences(models, runs, found_by(searches)), *left_out, *measured.notes)
    portability = read_portability(inputs.artifacts) if inputs.portability.is_file() else None
    return Study(inputs.models[0], models, runs, measured, notes, inputs.study, searches, portability, variants)


def read_run(files: RunFiles) -> Run:
    """The run in `files.folder`.

    Raises:
        StudyError: as `read_study`.
    """
    made = read_training(files)
    export = as_json(current_export(files))
    layers = read(files.onnx).layers
    return Run(**vars(made), export=export, layers=layers, pruning=current(files))


def read_variants(runs: Iterable[RunFiles]) -> tuple[tuple[dict[str, Any], ...], list[str]]:
    """The records of all exports of `runs` but the standard ones, and a note of each that is stale and left out.

    Raises:
        StudyError: a record is damaged.
    """
    found, notes = [], []
    for files in runs:
        for variant in files.variants():
            if variant != STANDARD:
                try:
                    record = as_json(current_export(files.of(variant)))
                    found.append({**record, "model": files.model, "seed": files.seed})
                except StudyError as error:
                    notes.append(f"left out: {error}")
    return tuple(found), notes


def read_training(files: RunFiles) -> Training:
    """The training of the run in `files.folder`, which need not have been exported.

    Raises:
        StudyError: as `read_study`.
    """
    retrain = f"run `python -m train {files.model} --fresh`"
    record = read_json(files.record, "run/1", retrain)
    if (record["model"], record["seed"]) != (files.model, files.seed):
        raise StudyError(
            f"{files.record}: expected {files.model} with seed {files.seed}, found {record['model']} with seed "
            f"{record['seed']}; {retrain}"
        )
    history = _read_history(files, record["epochs"], retrain)
    labels, predicted = _read_predictions(files, retrain)
    wrong = predicted != labels
    if abs(wrong.mean() - record["test_error"]) > 1e-9:
        raise StudyError(
            f"{files.predictions}: expected the test error of run.json, {record['test_error']}, found {wrong.mean()}; "
            f"{retrain}"
        )
    return Training(files.model, files.seed, record, history, labels, wrong)


def _read_history(files: RunFiles, epochs: int, remedy: str) -> tuple[dict[str, float | None], ...]:
    """history.csv by row: every epoch from 1 to `epochs`, whole; only the validation may be empty."""
    try:
        text = files.history.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise StudyError(f"{files.history} is missing; {remedy}") from None
    except (OSError, ValueError) as error:
        raise StudyError(f"{files.history}: {error}; {remedy}") from None
    header, *lines = text.splitlines() or [""]
    if header != ",".join(HISTORY):
        raise StudyError(f"{files.history}: expected the header {','.join(HISTORY)}, found {header[:60]!r}; {remedy}")
    history = []
    for n, line in enumerate(lines, 1):
        try:
            history.append(_read_epoch(n, line))
        except ValueError:
            raise StudyError(
                f"{files.history}: expected epoch {n} with {','.join(HISTORY)}, found {line[:120]!r}; {remedy}"
            ) from None
    if len(history) != epochs or not text.endswith("\n"):
        found = f"{len(history)}" if text.endswith("\n") else f"a row that is cut off, {lines[-1][:120]!r}"
        raise StudyError(f"{files.history}: expected the {epochs} epochs of run.json, found {found}; {remedy}")
    return tuple(history)


def _read_epoch(n: int, line: str) -> dict[str, float | None]:
    """A row of history.csv, of epoch `n`; anything else is a ValueError."""
    fields = dict(zip(HISTORY, line.split(","), strict=True))
    missing = [column for column, text in fields.items() if not text and not column.startswith("validation_")]
    if missing or int(fields["epoch"]) != n:
        raise ValueError(line)
    return {"epoch": n, **{column: float(fields[column]) if fields[column] else None for column in HISTORY[1:]}}


def _read_predictions(files: RunFiles, remedy: str) -> NDArray[np.int64]:
    """Labels and predicted classes of the test images: (2, images)."""
    try:
        header, *lines = files.predictions.read_text(encoding="utf-8").splitlines() or [""]
    except FileNotFoundError:
        raise StudyError(f"{files.predictions} is missing; {remedy}") from None
    except (OSError, ValueError) as error:
        raise StudyError(f"{files.predictions}: {error}; {remedy}") from None
    expected = ",".join(PREDICTIONS)
    if header != expected:
        raise StudyError(f"{files.predictions}: expected the header {expected}, found {header[:60]!r}; {remedy}")
    damaged = next((line for line in lines if not PREDICTION.fullmatch(line)), None)
    if damaged is not None or not lines:
        found = "none" if damaged is None else repr(damaged[:60])
        raise StudyError(f"{files.predictions}: expected two classes a row, found {found}; {remedy}")
    return np.array([line.split(",") for line in lines], dtype=np.int64).T


def read_search(path: Path) -> dict[str, Any]:
    """A search.json of the model whose folder it lies in; its best recipe, if there is one, is a recipe of a trial.

    Raises:
        StudyError: it is damaged.
    """
    again = "run `python -m train search` again"
    search = read_json(path, "search/1", again)
    if search["model"] != path.parent.name:
        raise StudyError(f"{path}: expected a search of {path.parent.name}, found one of {search['model']}; {again}")
    numbers = [trial["number"] for trial in search["trials"]]
    if search["best"] and search["best"]["number"] not in numbers:
        raise StudyError(
            f"{path}: expected the best trial among those there are, found {search['best']['number']}; {again}"
        )
    try:
        recorded(search["best"]["recipe"] if search["best"] else {})
    except ValueError as error:
        raise StudyError(f"{path}: the best recipe: {error}; {again}") from None
    return search


def found_by(searches: Iterable[dict[str, Any]]) -> dict[str, Recipe]:
    """The best recipe of each search by model."""
    return {search["model"]: recorded(search["best"]["recipe"]) for search in searches if search["best"]}


def _differences(models: Sequence[str], runs: Sequence[Run], found: Mapping[str, Recipe]) -> Iterator[str]:
    """What makes the runs unequal although the tables put them side by side; `found` are recipes of searches."""
    known = {entry.name: entry.recipe for entry in catalogue.ENTRIES}
    for run in runs:
        if run.model in found and not departures(run.record["recipe"], found[run.model]):
            continue
        if run.model in known and (changed := departures(run.record["recipe"], known[run.model])):
            yield f"{run.model}, seed {run.seed} was not trained by the catalogue's recipe: {', '.join(changed)}"
    if len({json.dumps(run.record["dataset"], sort_keys=True) for run in runs}) > 1:
        yield "the runs were trained on different data sets"
    counts = {model: sum(run.model == model for run in runs) for model in models}
    if len(set(counts.values())) > 1:
        yield f"the models have different numbers of runs: {', '.join(f'{m} {n}' for m, n in counts.items())}"


def departures(values: Mapping[str, Any], recipe: Recipe) -> list[str]:
    """In what the recipe of a run.json is not `recipe`: "epochs 2 instead of 28"."""
    try:
        made_by = msgspec.structs.asdict(recorded(values))
    except ValueError as error:
        further = [key for key in values if key not in {field.name for field in msgspec.structs.fields(Recipe)}]
        return ["it has further keys" if further else str(error)]
    wanted = msgspec.structs.asdict(recipe)
    return [f"{key} {made_by[key]} instead of {wanted[key]}" for key in wanted if made_by[key] != wanted[key]]
