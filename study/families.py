"""Families of runtimes: the settings in which one engine is measured, such as `torch` and `torch-compile`."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator

from msgspec.structs import replace

from study.records.bench import BenchRecord, CaseKey, CaseRecord, ComparisonRecord

FAMILIES = {"torch": "PyTorch", "onnxruntime": "ONNX Runtime"}
"""Engines that are measured in several settings. The runtime of the family's name is its default setting."""


def family(runtime: str) -> str:
    """The engine of a runtime: `torch` of `torch-compile`; of a runtime that has one setting its own name."""
    engine = runtime.partition("-")[0]
    return engine if engine in FAMILIES else runtime


def is_default(runtime: str) -> bool:
    """Whether a runtime is its engine as it is without further settings."""
    return runtime == family(runtime)


def best_key(key: CaseKey, reference: str) -> CaseKey:
    """The key of best against best of two engines: it has the name of both, and neither a seed nor a file."""
    return replace(_without_file(key), runtime=f"best of {family(reference)}/{family(key.runtime)}")


def best_pairs(comparisons: Iterable[ComparisonRecord]) -> dict[CaseKey, str]:
    """The pairs that are best against best in a session, such as "torch-compile/onnxruntime"."""
    return {
        best_key(one.key, one.reference): f"{one.reference}/{one.key.runtime}" for one in comparisons if one.best_of
    }


def changed_pairs(sessions: Iterable[Iterable[ComparisonRecord]]) -> dict[CaseKey, Counter[str]]:
    """Where best against best is not the same pair in all sessions: how many sessions have each."""
    found: dict[CaseKey, Counter[str]] = defaultdict(Counter)
    for comparisons in sessions:
        for key, pair in best_pairs(comparisons).items():
            found[key][pair] += 1
    return {key: pairs for key, pairs in found.items() if len(pairs) > 1}


def outrun(record: BenchRecord) -> Iterator[tuple[CaseKey, str, str]]:
    """Where another candidate is shown to be faster, in the session, than the one that the pilot chose.

    That is, by intervals that have no number in common, of two valid cases. Yields the key of best against best, the
    setting that was chosen, and the faster one.
    """
    cases = {_without_file(case.key): case for case in record.cases if case.valid}
    for one in record.comparisons:
        for side in (one.best_of.reference, one.best_of.runtime) if one.best_of else ():
            there = [cases.get(_without_file(replace(one.key, runtime=candidate.runtime))) for candidate in side]
            chosen, *others = there
            faster = [case for case in others if case and chosen and _below(case, chosen)]
            if chosen and faster:
                fastest = min(faster, key=lambda case: case.median_seconds.value)
                yield best_key(one.key, one.reference), chosen.key.runtime, fastest.key.runtime


def _below(case: CaseRecord, other: CaseRecord) -> bool:
    return case.median_seconds.high < other.median_seconds.low


def _without_file(key: CaseKey) -> CaseKey:
    return replace(key, seed=None, onnx_sha256="")
