"""Families of runtimes: the settings in which one engine is measured, such as `torch` and `torch-compile`."""

from collections.abc import Iterable

from msgspec.structs import replace

from study.records.bench import CaseKey, ComparisonRecord

Pair = tuple[str, str]
"""A reference and a runtime."""
Group = tuple[CaseKey, Pair]
"""A key without its runtime, seed and file, and two families."""

FAMILIES = {"torch": "PyTorch", "onnxruntime": "ONNX Runtime"}
"""Engines that are measured in several settings. The runtime of the family's name is its default setting."""


def family(runtime: str) -> str:
    """The engine of a runtime: `torch` of `torch-compile`; of a runtime that has one setting its own name."""
    engine = runtime.partition("-")[0]
    return engine if engine in FAMILIES else runtime


def is_default(runtime: str) -> bool:
    """Whether a runtime is its engine as it is without further settings."""
    return runtime == family(runtime)


def chosen(comparisons: Iterable[ComparisonRecord]) -> dict[Group, Pair]:
    """Which pairs are best against best in a session, by what they are the best of."""
    best = [one for one in comparisons if one.best_of]
    return {(_setting(one.key), (family(one.reference), family(one.key.runtime))): _pair(one) for one in best}


def _pair(one: ComparisonRecord) -> Pair:
    return one.reference, one.key.runtime


def _setting(key: CaseKey) -> CaseKey:
    return replace(key, runtime="", seed=None, onnx_sha256="")
