"""What results were made with: machines, settings, versions and commits, each different one once."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace

from study.environment import Description, describe
from study.records.base import Environment


def descriptions(environments: Iterable[Environment]) -> list[str]:
    """Each different environment in words, with all commits that it was at."""
    commits: dict[Description, list[str]] = {}
    for made in map(describe, environments):
        commits.setdefault(replace(made, commit=""), []).append(made.commit)
    return [str(replace(made, commit=", ".join(dict.fromkeys(those)))) for made, those in commits.items()]


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
