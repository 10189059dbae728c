"""The catalogue's entries as far as they have been trained: what `python -m analysis results` reports.

A run need not have been exported or measured, and entries are for different data sets: nothing here compares two of
them. Those runs of an entry count that were trained on its data set, by its recipe, for the most epochs; the others are
left out with the reason.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from msgspec import structs

from analysis.inputs.benchmarks import Measurements, machine, read_measurements
from analysis.inputs.runs import Run, read_run, read_training, same_images
from analysis.inputs.study import departures, read_search
from study import catalogue
from study.artifacts import DEFAULT_ROOT, Artifacts, RunFiles
from study.data.datasets import find
from study.entry import Entry
from study.errors import StudyError
from study.files import sha256, there
from study.recipe import Recipe
from study.records.training import SearchRecord

ORIGINS = {"own": "this project's", "published": "published", "modern": "modern"}
"""Label of each recipe origin."""


@dataclass(frozen=True)
class EntryResult:
    """An entry of the catalogue with those of its finished runs that count, by seed."""

    entry: Entry
    study: str
    runs: tuple[Run, ...]
    wanted: Recipe
    """The recipe that the runs have, perhaps for fewer epochs: a search's best one if any has it, or the entry's."""
    searched: bool
    left_out: tuple[str, ...]
    """The runs that do not count, and why."""

    @property
    def kind(self) -> str:
        """Label of the recipe's origin."""
        return "searched" if self.searched else ORIGINS[self.entry.origin]

    @property
    def epochs(self) -> int:
        """Epochs of the runs' recipe."""
        return self.runs[0].record.recipe.epochs

    @property
    def budget(self) -> str:
        """ "5 of 150 epochs" where that is less than the recipe has, else empty."""
        return f"{self.epochs} of {self.wanted.epochs} epochs" if self.epochs < self.wanted.epochs else ""

    @property
    def trained_on(self) -> int:
        """Number of images, without those that are kept for validation."""
        return find(self.entry.dataset).train_images - self.wanted.validation

    @property
    def machines(self) -> list[str]:
        """The machines that the runs were trained on."""
        return list(dict.fromkeys(machine(run.record.environment) for run in self.runs))

    def remarks(self) -> Iterator[str]:
        """Which runs are left out, and in what those that count differ."""
        yield from self.left_out
        values: dict[str, list[object]] = {
            "network sources": [run.record.network_sha256 for run in self.runs],
            "numbers of parameters": [run.record.parameters for run in self.runs],
            "machines": [machine(run.record.environment) for run in self.runs],
            "versions": [sorted(run.record.environment.packages.items()) for run in self.runs],
            "numbers of threads": [run.record.environment.threads for run in self.runs],
        }
        for what, own in values.items():
            seeds: dict[str, list[str]] = {}
            for run, value in zip(self.runs, own, strict=True):
                seeds.setdefault(str(value), []).append(str(run.seed))
            if len(seeds) > 1:
                sets = " and ".join(f"seed {', '.join(alike)}" for alike in seeds.values())
                yield f"the runs have different {what}: {sets}"


@dataclass(frozen=True)
class Results:
    """All entries that have runs that count, by study in the order of the catalogue."""

    root: Path
    """Folder of the artifacts."""
    entries: tuple[EntryResult, ...]
    not_run: Mapping[str, tuple[str, ...]]
    """The other entries, and which of their runs are left out."""
    measured: Measurements
    benches: tuple[Path, ...]
    searches: tuple[SearchRecord, ...]
    notes: tuple[str, ...]

    @property
    def models(self) -> tuple[str, ...]:
        return tuple(result.entry.name for result in self.entries)

    @property
    def runs(self) -> tuple[Run, ...]:
        return tuple(run for result in self.entries for run in result.runs)

    @property
    def machines(self) -> dict[str, int]:
        """Every machine that something was made on, numbered from 1."""
        trained = [name for result in self.entries for name in result.machines]
        exported = [run.export.environment for run in self.runs if run.export]
        others = (machine(environment) for environment in (*exported, *self.measured.environments))
        return {name: n for n, name in enumerate(dict.fromkeys([*trained, *others]), 1)}

    def studies(self) -> dict[str, list[EntryResult]]:
        """The entries of each study."""
        entries: dict[str, list[EntryResult]] = {}
        for result in self.entries:
            entries.setdefault(result.study, []).append(result)
        return entries


def read_results(artifacts: Artifacts, benches: Sequence[Path]) -> Results:
    """Read and check every run of the catalogue, its export if there is one, and these files of measurements.

    Raises:
        StudyError: a file is damaged, runs on one data set were tested on different images, or no run counts.
    """
    paths = [artifacts.search(entry.name) for entry in catalogue.ENTRIES]
    searches = tuple(read_search(path) for path in paths if there(path))
    best = {search.model: search for search in searches if search.best}
    every = [
        _result(entry, study, list(map(_read, artifacts.runs(entry.name))), best.get(entry.name))
        for entry, study in _by_study()
    ]
    entries = tuple(result for result in every if result.runs)
    if not entries:
        raise StudyError(f"{artifacts.root}/models holds no finished run of the catalogue; run `python -m train`")
    runs = [run for result in entries for run in result.runs]
    for dataset in {result.entry.dataset for result in entries}:
        same_images([run for result in entries if result.entry.dataset == dataset for run in result.runs])
    notes = [note for run in runs for note in run.notes]
    unexported = dict.fromkeys(run.model for run in runs if not there(run.files.export))
    if unexported:
        names = " ".join(unexported)
        notes.append(f"not exported, and so without size, latency and sparsity: run `python -m export {names}`")
    benches = tuple({sha256(path): path for path in reversed(benches)}.values())[::-1]
    measured = Measurements()
    if benches:
        exported = dict.fromkeys(run.model for run in runs if run.export)
        again = f"run `{measure(list(exported), artifacts.root)}` to measure"
        measured = read_measurements(benches, runs, all_alike=False, remedy=again)
    not_run = {result.entry.name: result.left_out for result in every if not result.runs}
    return Results(artifacts.root, entries, not_run, measured, benches, searches, (*notes, *measured.notes))


def measure(models: Sequence[str], root: Path) -> str:
    """The command that measures `models` into a file which is not there yet, but which the page will read."""
    n = 1
    while there(path := root / f"bench-results-{n}.json"):
        n += 1
    place = "" if root == DEFAULT_ROOT else f" --artifacts {root}"
    return f"pytest bench --models {','.join(models)}{place} --benchmark-json={path}"


def _read(files: RunFiles) -> Run:
    """A run, with its export unless that is missing or stale."""
    if not there(files.export):
        return read_training(files)
    try:
        return read_run(files)
    except StudyError as error:
        note = f"{files.model}, seed {files.seed} is without size, latency and sparsity: {error}"
        return replace(read_training(files), notes=(note,))


def _result(entry: Entry, study: str, runs: Sequence[Run], search: SearchRecord | None) -> EntryResult:
    """Those of `runs` that count, and why the others do not; `search` has a best trial."""
    wanted, searched = entry.recipe, False
    if search and search.best:
        own = [run for run in runs if run.record.network_sha256 == search.network_sha256]
        if any(not _changed(run, search.best.recipe) for run in own):
            wanted, searched = search.best.recipe, True
    left_out, trained = [], {}
    for run in runs:
        if changed := _changed(run, wanted):
            left_out.append(f"left out: seed {run.seed}, trained by another recipe ({', '.join(changed)})")
        elif run.record.dataset.name != find(entry.dataset).title:
            left_out.append(f"left out: seed {run.seed}, trained on {run.record.dataset.name}")
        else:
            trained[run.seed] = run.record.recipe.epochs
    most = max(trained.values(), default=0)
    left_out += [
        f"left out: seed {seed}, trained for {epochs} epochs, others for {most}"
        for seed, epochs in trained.items()
        if epochs < most
    ]
    counted = tuple(run for run in runs if trained.get(run.seed) == most)
    return EntryResult(entry, study, counted, wanted, searched, tuple(left_out))


def _changed(run: Run, wanted: Recipe) -> list[str]:
    """Fields in which the run's recipe is not `wanted`, but for having fewer epochs."""
    recipe = run.record.recipe
    return departures(recipe, structs.replace(wanted, epochs=max(1, min(wanted.epochs, recipe.epochs))))


def _by_study() -> Iterator[tuple[Entry, str]]:
    """Every entry once, with the first study that it is in."""
    first: dict[str, str] = {}
    for study, names in catalogue.STUDIES.items():
        for name in names:
            first.setdefault(name, study)
    return ((catalogue.entry(name), study) for name, study in first.items())
