"""What a report is made from, read and checked: runs, searches, measurements, and where the models run."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from msgspec.structs import asdict

from analysis.inputs.benchmarks import Measurements, read_measurements
from analysis.inputs.files import Inputs
from analysis.inputs.modules import Module, read_module, remarks
from analysis.inputs.portability import Portability, read_portability
from analysis.inputs.runs import Run, read_run, same_images
from study import catalogue
from study.artifacts import Artifacts
from study.errors import StudyError
from study.files import there
from study.recipe import Recipe
from study.record_files import read_record
from study.records.ab import AbRecord
from study.records.training import SearchRecord


@dataclass(frozen=True)
class Study:
    """What was trained, and modules that were not; `models` are the names of both."""

    name: str
    """In the catalogue, or `files.MODULES`."""
    baseline: str
    """The first model asked for that is no module, which may have no runs; empty if all are modules."""
    models: tuple[str, ...]
    runs: tuple[Run, ...]
    modules: tuple[Module, ...]
    measured: Measurements
    searches: tuple[SearchRecord, ...]
    """Of those models that were searched."""
    portability: Portability | None
    paired: tuple[AbRecord, ...]
    """Comparisons of `bench ab`, two exports among them."""
    notes: tuple[str, ...]
    """What a reader must know first, a sentence each."""
    artifacts: Artifacts
    benches: tuple[Path, ...]
    """The files of measurements, as they were named."""

    @property
    def files(self) -> tuple[Run | Module, ...]:
        """What has an ONNX file, in the order of `models`."""
        return in_order(self.models, self.runs, self.modules)

    @property
    def has_variants(self) -> bool:
        """Whether a run has been exported as another variant than the standard one."""
        return any(run.exports[1:] for run in self.runs)


def read_study(inputs: Inputs) -> Study:
    """Read and check every input.

    Raises:
        StudyError: a file is missing, damaged or not of the same run as its neighbours.
    """
    runs = tuple(map(read_run, inputs.runs))
    same_images(runs)
    modules = tuple(map(read_module, inputs.modules))
    models = tuple(model for model in inputs.models if model not in inputs.missing)
    measured = read_measurements(inputs.benches, in_order(models, runs, modules), others=inputs.other_modules)
    searches = tuple(map(read_search, inputs.searches))
    notes: list[str] = []
    if inputs.missing:
        notes.append(
            f"left out: expected a finished run of {', '.join(inputs.missing)}, found none; "
            f"run `python -m train {' '.join(inputs.missing)}`"
        )
    trained = [model for model in models if model not in inputs.module_names]
    notes += [*_differences(trained, runs, searches), *(note for run in runs for note in run.notes)]
    notes += [*remarks(modules), *measured.notes]
    portability = read_portability(inputs.artifacts) if there(inputs.portability) else None
    paired = read_paired(inputs.artifacts)
    baseline = next((model for model in inputs.models if model not in inputs.module_names), "")
    return Study(
        inputs.study,
        baseline,
        models,
        runs,
        modules,
        measured,
        searches,
        portability,
        paired,
        tuple(notes),
        inputs.artifacts,
        inputs.benches,
    )


def read_paired(artifacts: Artifacts) -> tuple[AbRecord, ...]:
    """The comparisons of `bench ab` among the artifacts.

    Raises:
        StudyError: one is damaged.
    """
    return tuple(read_record(path, AbRecord, "delete it, or measure again") for path in artifacts.ab)


def in_order(models: Sequence[str], runs: Iterable[Run], modules: Iterable[Module]) -> tuple[Run | Module, ...]:
    """Both in the order of their models."""
    return tuple(sorted((*runs, *modules), key=lambda one: models.index(one.model)))


def read_search(path: Path) -> SearchRecord:
    """A search.json of the model whose folder it lies in.

    Raises:
        StudyError: it is damaged.
    """
    again = "run `python -m train search` again"
    search = read_record(path, SearchRecord, again)
    if search.model != path.parent.name:
        raise StudyError(f"{path}: expected a search of {path.parent.name}, found one of {search.model}; {again}")
    if search.best and search.best.number not in {trial.number for trial in search.trials}:
        raise StudyError(f"{path}: expected the best trial among those there are, found {search.best.number}; {again}")
    return search


def departures(recipe: Recipe, wanted: Recipe) -> list[str]:
    """Fields in which one recipe differs from another: "epochs 2 instead of 28"."""
    made, expected = asdict(recipe), asdict(wanted)
    return [f"{key} {made[key]} instead of {expected[key]}" for key in made if made[key] != expected[key]]


def _differences(models: Sequence[str], runs: Sequence[Run], searches: Iterable[SearchRecord]) -> Iterator[str]:
    """What makes the runs unequal although the tables put them side by side."""
    known: Mapping[str, Recipe] = {entry.name: entry.recipe for entry in catalogue.ENTRIES}
    searched = {search.model: search.best.recipe for search in searches if search.best}
    for run in runs:
        if run.model in searched and not departures(run.record.recipe, searched[run.model]):
            continue
        if run.model in known and (changed := departures(run.record.recipe, known[run.model])):
            yield f"{run.model}, seed {run.seed} was not trained by the catalogue's recipe: {', '.join(changed)}"
    if any(run.record.dataset != runs[0].record.dataset for run in runs):
        yield "the runs were trained on different data sets"
    counts = {model: sum(run.model == model for run in runs) for model in models}
    if len(set(counts.values())) > 1:
        yield f"the models have different numbers of runs: {', '.join(f'{m} {n}' for m, n in counts.items())}"
