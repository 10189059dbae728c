"""Best against best: the fastest runtime of each of two families, chosen on measurements that are not used again.

The fastest of several is fast partly by chance. Chosen and judged on the same calls, it would look faster than it is,
the more so the more candidates there are. The pilot chooses, and the session measures the pair like every other.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from statistics import geometric_mean
from typing import Any

from bench.cases import Case, by_setting, reference_of
from bench.keys import short_name
from bench.records import counted
from bench.tasks import CaseTask, PairTask
from study.families import best_key, family
from study.records.bench import BestOf, Candidate


@dataclass(frozen=True)
class Families:
    """Cases that differ only in the runtime, of two families, one of which has several."""

    reference: tuple[Case, ...]
    runtime: tuple[Case, ...]

    def __str__(self) -> str:
        first, other = (family(cases[0].runtime) for cases in (self.reference, self.runtime))
        _, _, setting = str(self.runtime[0]).partition(f"-{self.runtime[0].runtime}-")
        return f"best-{first}-against-{self.runtime[0].model.name}-best-{other}-{setting}"

    @property
    def name(self) -> str:
        """In words, as the names of the tasks are."""
        return short_name(best_key(self.runtime[0].key, self.reference[0].runtime))


@dataclass(frozen=True)
class Chosen:
    """The fastest of each family in the pilot, and all candidates."""

    pair: PairTask
    best_of: BestOf


def find_families(cases: Sequence[Case]) -> list[Families]:
    """The reference's family (find_pairs) against each other family, where one of the two has several runtimes."""
    found = []
    for group in by_setting(cases):
        families: dict[str, list[Case]] = {}
        for case in group:
            families.setdefault(family(case.runtime), []).append(case)
        first = families.pop(family(reference_of(group).runtime))
        found += [Families(tuple(first), tuple(own)) for own in families.values() if max(len(first), len(own)) > 1]
    return found


def choose(families: Families, seconds: Mapping[str, float]) -> Chosen | None:
    """The fastest of each family; None if one has no candidate.

    Args:
        seconds: the time of a call in the pilot, by the name of the case's task; a case without one is no candidate.
    """
    sides = []
    for cases in (families.reference, families.runtime):
        there = [case for case in cases if CaseTask(case).name in seconds]
        sides.append(sorted(there, key=lambda case: seconds[CaseTask(case).name]))
    if not all(sides):
        return None
    reference, runtime = (
        tuple(Candidate(runtime=case.runtime, pilot_seconds=seconds[CaseTask(case).name]) for case in side)
        for side in sides
    )
    return Chosen(PairTask(sides[0][0], sides[1][0]), BestOf(reference=reference, runtime=runtime))


def pilot_seconds(results: Mapping[str, Sequence[Any]], cases: Iterable[Case]) -> dict[str, float]:
    """The median of each case over the processes of the pilot that count, where its outputs are right."""
    names = [CaseTask(case).name for case in cases]
    given = {name: counted(results[name]) for name in names if results.get(name)}
    return {
        name: geometric_mean([one.process.median_seconds for one in used])
        for name, used in given.items()
        if not any(one.output_reasons for one in used)
    }


def in_words(chosen: Sequence[Chosen]) -> str:
    """One line: each pair that was chosen, and for what."""

    def engines(one: Chosen) -> str:
        return f"{one.pair.reference.runtime}/{one.pair.runtime.runtime}"

    parts = []
    for pair, alike in groupby(sorted(chosen, key=engines), key=engines):
        names = [one.pair.name.replace(f" {pair} ", " ", 1) for one in alike]
        more = f" and {len(names) - 3} more" if len(names) > 3 else ""
        parts.append(f"{pair} ({', '.join(names[:3])}{more})")
    return f"best against best, as the pilot shows it: {', '.join(parts)}"
