"""What results were made with: machines, settings, versions and commits, each different one once, and the commands."""

import shlex
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import zip_longest

from analysis.inputs.study import Study
from study import catalogue
from study.bench_file import without_file
from study.environment import Description, describe
from study.records.base import Environment


def descriptions(environments: Iterable[Environment]) -> list[Description]:
    """Each different environment in words, with all commits that it was at."""
    commits: dict[Description, list[str]] = {}
    for made in map(describe, environments):
        commits.setdefault(replace(made, commit=""), []).append(made.commit)
    return [replace(made, commit=", ".join(dict.fromkeys(those))) for made, those in commits.items()]


@dataclass(frozen=True)
class Made:
    """What a stage ran on, with the commits it was at."""

    stage: str
    machine: int
    setup: str
    versions: str
    commits: list[str]


def made_with(stages: Mapping[str, Iterable[Environment]], machines: Mapping[str, int]) -> Iterator[Made]:
    """The environments of each stage; `machines` are numbered."""
    for stage, environments in stages.items():
        commits: dict[tuple[int, str, str], list[str]] = {}
        for made in map(describe, environments):
            commits.setdefault((machines[made.machine], made.setup, made.versions), []).append(made.commit)
        for (machine, setup, versions), of_them in commits.items():
            yield Made(stage, machine, setup, versions, list(dict.fromkeys(of_them)))


def commands(study: Study) -> Iterator[str]:
    """The commands that make a report again, with the files and folders that it was made from."""
    folder = study.artifacts.words
    modules = {module.model for module in study.modules}
    trained = [model for model in study.models if model not in modules]
    yield from (shlex.join(["python", "-m", "train", *words, *folder]) for words in _trainings(study, trained))
    if study.runs:
        yield shlex.join(["python", "-m", "export", *trained, *folder])
    for bench, words in zip_longest(
        study.benches, [each.command for each in study.measured.environments], fillvalue=()
    ):
        yield shlex.join(["pytest", *(without_file(words) or ["bench", *folder]), f"--benchmark-json={bench}"])
    benches = [] if study.benches == (study.artifacts.bench,) else ["--bench", ",".join(map(str, study.benches))]
    yield shlex.join(["python", "-m", "analysis", "--models", ",".join(study.models), *benches, *folder])


def _trainings(study: Study, models: Sequence[str]) -> Iterator[list[str]]:
    """The words of `python -m train` for the runs, models with the same seeds and epochs together."""
    usual = {entry.name: entry.recipe.epochs for entry in catalogue.ENTRIES}
    alike: dict[tuple[tuple[int, ...], int | None], list[str]] = defaultdict(list)
    for model in models:
        records = [run.record for run in study.runs if run.record.model == model]
        for epochs in sorted({record.recipe.epochs for record in records}):
            seeds = tuple(sorted(record.seed for record in records if record.recipe.epochs == epochs))
            alike[seeds, None if epochs == usual.get(model, epochs) else epochs].append(model)
    for (seeds, other), together in alike.items():
        words = [] if seeds == catalogue.DEFAULT_SEEDS else ["--seeds", ",".join(map(str, seeds))]
        yield [*together, *words, *(["--epochs", str(other)] if other else [])]
