"""The whole catalogue as far as it has been trained: what `python -m analysis results` tells of.

Each run is read and checked as for a report, but need not have been exported or measured, and entries are for
different data sets: nothing here compares two of them. Of an entry those runs count that were trained on its data
set, by its recipe, for as many epochs as any of them; the others are told of and left out.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from msgspec import structs

from analysis.inputs.benchmarks import Measurements, machine, read_measurements
from analysis.inputs.runs import Search, Training, departures, read_search, read_training, read_variants
from analysis.weights.layers import Layer, read
from study import catalogue
from study.artifacts import DEFAULT_ROOT, Artifacts, RunFiles, as_json, current_export, sha256
from study.catalogue import Entry
from study.data.datasets import find
from study.errors import StudyError
from study.recipe import Recipe, recorded

KINDS = {"own": "this project's", "published": "published", "modern": "modern"}
"""Whose a recipe is, in words, by the origin of its entry."""


@dataclass(frozen=True)
class Export:
    """The ONNX file of a run: export.json and its fully-connected layers."""

    seed: int
    record: dict[str, Any]
    layers: tuple[Layer, ...]


@dataclass(frozen=True)
class Standing:
    """An entry of the catalogue with those of its finished runs that count, by seed, and what exports these have."""

    entry: Entry
    study: str
    runs: tuple[Training, ...]
    exports: tuple[Export, ...]
    wanted: Recipe
    """Which the runs are of, but perhaps for fewer epochs: what a search has found, if a run is, or the catalogue's."""
    searched: bool
    left_out: tuple[str, ...]
    """The runs that do not count, and why."""

    @property
    def kind(self) -> str:
        """Whose the recipe is."""
        return "searched" if self.searched else KINDS[self.entry.origin]

    @property
    def epochs(self) -> int:
        """Of the recipe that the runs were trained by, which is the same of all."""
        return recorded(self.runs[0].record["recipe"]).epochs

    @property
    def budget(self) -> str:
        """ "5 of 150 epochs" where that is less than the recipe has, else empty."""
        return f"{self.epochs} of {self.wanted.epochs} epochs" if self.epochs < self.wanted.epochs else ""

    @property
    def trained_on(self) -> int:
        """Images, without those that are kept for validation."""
        return find(self.entry.dataset).train_images - self.wanted.validation

    @property
    def machines(self) -> list[str]:
        """That the runs were trained on."""
        return list(dict.fromkeys(machine(run.record["environment"]) for run in self.runs))

    def test_errors(self) -> list[float]:
        return [run.record["test_error"] for run in self.runs]

    def validation_errors(self) -> list[float]:
        """Of the runs that validated, after the epoch whose weights were kept."""
        errors = (run.record.get("validation_error") for run in self.runs)
        return [error for error in errors if error is not None]

    def epoch_seconds(self) -> list[float]:
        """Of every epoch of every run, with its validation."""
        return [seconds for run in self.runs for row in run.history if (seconds := row["seconds"]) is not None]

    def remarks(self) -> Iterator[str]:
        """Which runs are left out, and where those that count are not all alike."""
        yield from self.left_out
        for what, of in (
            ("network sources", lambda run: run.record["network_sha256"]),
            ("numbers of parameters", lambda run: run.record["parameters"]),
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
    """All entries that have runs that count, by study in the order of the catalogue."""

    root: Path
    """Of the artifacts."""
    standings: tuple[Standing, ...]
    not_run: Mapping[str, tuple[str, ...]]
    """The other entries, and what runs of theirs are left out."""
    measured: Measurements
    benches: tuple[Path, ...]
    searches: tuple[Search, ...]
    notes: tuple[str, ...]

    @property
    def models(self) -> tuple[str, ...]:
        return tuple(standing.entry.name for standing in self.standings)

    @property
    def machines(self) -> dict[str, int]:
        """Every machine that something was made on, numbered from 1."""
        trained = [name for standing in self.standings for name in standing.machines]
        exported = [export.record["environment"] for standing in self.standings for export in standing.exports]
        others = map(machine, (*exported, *self.measured.environments))
        return {name: n for n, name in enumerate(dict.fromkeys([*trained, *others]), 1)}

    def studies(self) -> dict[str, list[Standing]]:
        """The standings of each study."""
        found: dict[str, list[Standing]] = {}
        for standing in self.standings:
            found.setdefault(standing.study, []).append(standing)
        return found


def read_field(artifacts: Artifacts, benches: Sequence[Path]) -> Field:
    """Read and check every run of the catalogue, its export if there is one, and these files of measurements.

    Raises:
        StudyError: a file is damaged, runs on one data set were tested on different images, or no run counts.
    """
    paths = [artifacts.search(entry.name) for entry in catalogue.ENTRIES]
    searches = {search["model"]: search for search in (read_search(path) for path in paths if path.is_file())}
    standings, unexported, notes = [], [], []
    not_run: dict[str, tuple[str, ...]] = {}
    tested: dict[str, tuple[RunFiles, Training]] = {}
    for entry, study in _by_study():
        files = {one.seed: one for one in artifacts.runs(entry.name)}
        standing = _standing(entry, study, [read_training(one) for one in files.values()], searches.get(entry.name))
        if not standing.runs:
            not_run[entry.name] = standing.left_out
            continue
        exports = []
        for run in standing.runs:
            one = files[run.seed]
            first = tested.setdefault(entry.dataset, (one, run))
            if not np.array_equal(run.labels, first[1].labels):
                raise StudyError(
                    f"{one.predictions}: expected the labels of {first[0].predictions}, found others, so the runs were "
                    f"not tested on the same images; run `python -m train {entry.name} --fresh`"
                )
            if not one.export.is_file():
                unexported.append(entry.name)
                continue
            try:
                exports.append(Export(one.seed, as_json(current_export(one)), read(one.onnx).layers))
            except StudyError as error:
                notes.append(f"{entry.name}, seed {one.seed} is without size, latency and sparsity: {error}")
        standings.append(replace(standing, exports=tuple(exports)))
    if not standings:
        raise StudyError(f"{artifacts.root}/models holds no finished run of the catalogue; run `python -m train`")
    if unexported:
        names = " ".join(dict.fromkeys(unexported))
        notes.append(f"not exported, and so without size, latency and sparsity: run `python -m export {names}`")

    onnx_files = {s.entry.name: {export.record["onnx_sha256"] for export in s.exports} for s in standings}
    benches = tuple({sha256(path): path for path in reversed(benches)}.values())[::-1]
    again = f"run `{measure([name for name, sums in onnx_files.items() if sums], artifacts.root)}` to measure"
    exported = [artifacts.run(s.entry.name, export.seed) for s in standings for export in s.exports]
    others = {record["onnx_sha256"] for record in read_variants(exported)[0]}.difference(*onnx_files.values())
    measured = Measurements()
    if benches:
        measured = read_measurements(benches, onnx_files, all_alike=False, remedy=again, variants=others)
    found = tuple(searches.values())
    return Field(artifacts.root, tuple(standings), not_run, measured, tuple(benches), found, (*notes, *measured.notes))


def measure(models: Sequence[str], root: Path) -> str:
    """The command that measures `models` into a file which is not there yet, but which the page will find."""
    n = 1
    while (path := root / f"bench-field-{n}.json").exists():
        n += 1
    place = "" if root == DEFAULT_ROOT else f" --artifacts {root}"
    return f"pytest bench --models {','.join(models)}{place} --benchmark-json={path}"


def _standing(entry: Entry, study: str, runs: Sequence[Training], search: Search | None) -> Standing:
    """Those of `runs` that count, and why the others do not. Exports are yet to come."""
    wanted, searched = entry.recipe, False
    if search is not None and search["best"]:
        found = recorded(search["best"]["recipe"])
        of_it = [run for run in runs if run.record["network_sha256"] == search["network_sha256"]]
        if any(not _changed(run, found) for run in of_it):
            wanted, searched = found, True
    left_out, trained = [], {}
    for run in runs:
        data, epochs = run.record["dataset"]["name"], run.record["recipe"]["epochs"]
        if changed := _changed(run, wanted):
            left_out.append(f"left out: seed {run.seed}, trained by another recipe ({', '.join(changed)})")
        elif data != find(entry.dataset).title:
            left_out.append(f"left out: seed {run.seed}, trained on {data}")
        else:
            trained[run.seed] = epochs
    most = max(trained.values(), default=0)
    left_out += [
        f"left out: seed {seed}, trained for {epochs} epochs, others for {most}"
        for seed, epochs in trained.items()
        if epochs < most
    ]
    counted = tuple(run for run in runs if trained.get(run.seed) == most)
    return Standing(entry, study, counted, (), wanted, searched, tuple(left_out))


def _changed(run: Training, wanted: Recipe) -> list[str]:
    """In what the run's recipe is not `wanted`, but for having fewer epochs."""
    epochs = run.record["recipe"]["epochs"]
    return departures(run.record["recipe"], structs.replace(wanted, epochs=max(1, min(wanted.epochs, epochs))))


def _by_study() -> Iterator[tuple[Entry, str]]:
    """Every entry once, with the first study that it is in."""
    first: dict[str, str] = {}
    for study, names in catalogue.STUDIES.items():
        for name in names:
            first.setdefault(name, study)
    return ((catalogue.entry(name), study) for name, study in first.items())
