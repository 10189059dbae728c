"""What results were made with: machines, settings, versions and commits, each different one once, and the commands."""

import shlex
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import zip_longest

from analysis.inputs.study import Study
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
    if study.runs:
        yield shlex.join(["python", "-m", "train", *trained, *folder])
        yield shlex.join(["python", "-m", "export", *trained, *folder])
    for bench, words in zip_longest(
        study.benches, [each.command for each in study.measured.environments], fillvalue=()
    ):
        yield shlex.join(["pytest", *(_without_file(words) or ["bench", *folder]), f"--benchmark-json={bench}"])
    benches = [] if study.benches == (study.artifacts.bench,) else ["--bench", ",".join(map(str, study.benches))]
    yield shlex.join(["python", "-m", "analysis", "--models", ",".join(study.models), *benches, *folder])


def _without_file(words: Sequence[str]) -> list[str]:
    """The words of a session's command line without the file that it wrote, which may have been renamed."""
    option = "--benchmark-json"
    behind = [index + 1 for index, word in enumerate(words) if word == option]
    return [
        word
        for index, word in enumerate(words)
        if index not in behind and word != option and not word.startswith(f"{option}=")
    ]
