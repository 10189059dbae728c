"""Families of runtimes: the settings in which one engine is measured, such as `torch` and `torch-compile`."""

from collections import Counter, defaultdict
from collections.abc import Iterable

from msgspec.structs import replace

from study.records.bench import CaseKey, ComparisonRecord

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
    engines = f"{family(reference)}/{family(key.runtime)}"
    return replace(key, runtime=f"best of {engines}", seed=None, onnx_sha256="")


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
