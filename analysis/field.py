"""The whole catalogue as far as it has been trained: what `python -m analysis results` tells of.

Each run is read and checked as for a report, but need not have been exported or measured, and entries are for
different data sets: nothing here compares two of them.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from analysis.measurements import Measurements, machine, read_measurements
from analysis.records import Study, Training, departures, found_by, read_search, read_training
from analysis.weights.layers import Layer, read
from study import catalogue
from study.artifacts import Artifacts, current_export
from study.catalogue import DEFAULT_SEEDS, DEFAULT_STUDY, Entry
from study.errors import StudyError
from study.recipe import Recipe, recorded

OTHERS = "others"
"""Where entries are put that are in no study."""


@dataclass(frozen=True)
class Export:
    """The ONNX file of a run: export.json and its fully-connected layers."""

    seed: int
    record: dict[str, Any]
    layers: tuple[Layer, ...]


@dataclass(frozen=True)
class Standing:
    """An entry of the catalogue with its finished runs, by seed, and the exports of those that have one."""

    entry: Entry
    study: str
    runs: tuple[Training, ...]
    exports: tuple[Export, ...]
    found: Recipe | None = None
    """By a search of this entry's hyper-parameters, which then trains it."""

    @property
    def wanted(self) -> Recipe:
        """The recipe that the runs ought to be of: what a search has found, if one run is, or the catalogue's."""
        if self.found and self.found in [_recipe(run) for run in self.runs]:
            return self.found
        return self.entry.recipe

    @property
    def kind(self) -> str:
        """Whose the recipe is: `searched`, `modern` and `the study's` are this project's own."""
        if self.wanted == self.found:
            return "searched"
        if self.entry.modern:
            return "modern"
        return "the study's" if _own(self.entry) else "published"

    @property
    def budget(self) -> str:
        """What the runs are short of, in epochs and in number, of the catalogue's recipe and seeds; else empty."""
        wanted = self.wanted.epochs
        fewest = min(_recipe(run).epochs for run in self.runs)
        short = [f"{fewest} of {wanted} epochs"] if fewest < wanted else []
        if len(self.runs) < len(DEFAULT_SEEDS):
            short.append(f"{len(self.runs)} run{'' if len(self.runs) == 1 else 's'}")
        return ", ".join(short)

    def test_errors(self) -> list[float]:
        return [run.record["test_error"] for run in self.runs]

    def validation_errors(self) -> list[float]:
        """Of the runs that validated, after the epoch whose weights were kept."""
        errors = (run.record.get("validation_error") for run in self.runs)
        return [error for error in errors if error is not None]

    def remarks(self) -> Iterator[str]:
        """Where the runs are not what the catalogue says, or not all alike; their number of epochs is in `budget`."""
        whose = "search" if self.wanted == self.found else "catalogue"
        for run in self.runs:
            wanted = replace(self.wanted, epochs=min(self.wanted.epochs, _recipe(run).epochs))
            if changed := departures(run.record["recipe"], wanted):
                yield f"seed {run.seed} was not trained by the {whose}'s recipe: {', '.join(changed)}"
        for what, of in (
            ("recipes", _recipe),
            ("network sources", lambda run: run.record["network_sha256"]),
            ("numbers of parameters", lambda run: run.record["parameters"]),
            ("data sets", lambda run: run.record["dataset"]),
            ("machines", lambda run: machine(run.record["environment"])),
            ("versions", lambda run: run.record["environment"]["packages"]),
            ("numbers of threads", lambda run: run.record["environment"].get("threads")),
        ):
            groups: list[tuple[Any, list[int]]] = []
            for run in self.runs:
                alike = next((seeds for value, seeds in groups if value == of(run)), None)
                groups.append((of(run), [run.seed])) if alike is None else alike.append(run.seed)
            if len(groups) > 1:
                sets = " and ".join(f"seed {', '.join(map(str, seeds))}" for _, seeds in groups)
                yield f"the runs have different {what}: {sets}"


@dataclass(frozen=True)
class Field:
    """All entries that have runs, by study in the order of the catalogue, and the names of those that have none."""

    standings: tuple[Standing, ...]
    not_run: tuple[str, ...]
    measured: Measurements
    benches: tuple[Path, ...]
    searches: tuple[dict[str, Any], ...]
    notes: tuple[str, ...]

    def studies(self) -> dict[str, list[Standing]]:
        """The standings of each study."""
        found: dict[str, list[Standing]] = {}
        for standing in self.standings:
            found.setdefault(standing.study, []).append(standing)
        return found

    def measured_study(self) -> Study:
        """All entries as one study of which only the measurements are known, for the tables of latency."""
        return Study("", tuple(standing.entry.name for standing in self.standings), (), self.measured, (), "")

    def standing(self, model: str) -> Standing | None:
        """That of an entry, if it has runs."""
        return next((standing for standing in self.standings if standing.entry.name == model), None)


def read_field(artifacts: Artifacts, benches: Sequence[Path]) -> Field:
    """Read and check every run of the catalogue, its export if there is one, and these files of measurements.

    Raises:
        StudyError: a file is damaged, runs of one entry were tested on different images, or there is no run at all.
    """
    paths = [artifacts.search(entry.name) for entry in catalogue.ENTRIES]
    searches = tuple(read_search(path) for path in paths if path.is_file())
    found = found_by(searches)
    standings, not_run, unexported = [], [], []
    for entry, study in _by_study():
        files = artifacts.runs(entry.name)
        if not files:
            not_run.append(entry.name)
            continue
        runs = tuple(read_training(one) for one in files)
        for one, run in zip(files, runs, strict=True):
            try:
                _recipe(run)
            except ValueError as error:
                raise StudyError(f"{one.record}: recipe: {error}; run `python -m train {entry.name} --fresh`") from None
            if not np.array_equal(run.labels, runs[0].labels):
                raise StudyError(
                    f"{one.predictions}: expected the labels of {files[0].predictions}, found others, so the runs were "
                    f"not tested on the same images; run `python -m train {entry.name} --fresh`"
                )
        exports = []
        for one in files:
            try:
                exports.append(Export(one.seed, current_export(one), read(one.onnx).layers))
            except StudyError:
                unexported.append(entry.name)
        standings.append(Standing(entry, study, runs, tuple(exports), found.get(entry.name)))
    if not standings:
        raise StudyError(f"{artifacts.root}/models holds no finished run of the catalogue; run `python -m train`")

    onnx_files = {s.entry.name: {export.record["onnx_sha256"] for export in s.exports} for s in standings}
    measured = read_measurements(benches, onnx_files, all_alike=False) if benches else Measurements()
    notes = []
    if unexported:
        names = " ".join(dict.fromkeys(unexported))
        notes.append(
            f"not exported, or stale, and so without size, latency and sparsity: run `python -m export {names}`"
        )
    return Field(tuple(standings), tuple(not_run), measured, tuple(benches), searches, (*notes, *measured.notes))


def _by_study() -> Iterator[tuple[Entry, str]]:
    """Every entry once, with the first study that it is in."""
    first: dict[str, str] = {}
    for study, names in catalogue.STUDIES.items():
        for name in names:
            first.setdefault(name, study)
    order = {study: i for i, study in enumerate([*catalogue.STUDIES, OTHERS])}
    placed = [(entry, first.get(entry.name, OTHERS)) for entry in catalogue.ENTRIES]
    return iter(sorted(placed, key=lambda pair: order[pair[1]]))


def _own(entry: Entry) -> bool:
    """Whether the recipe is that of the default study."""
    names = catalogue.STUDIES[DEFAULT_STUDY]
    return entry.recipe in [one.recipe for one in catalogue.ENTRIES if one.name in names]


def _recipe(run: Training) -> Recipe:
    return recorded(run.record["recipe"])
