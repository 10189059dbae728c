"""Profiles of the same call in several engines, side by side by the modules that their operators belong to."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from study.records.profile import ProfileRecord

ROOT, UNKNOWN = "(the network itself)", "(not attributed)"
"""What an operator belongs to whose module is "" or null."""


@dataclass(frozen=True)
class ModuleTimes:
    """Time of the operators of one module in each engine."""

    module: str | None
    seconds: Mapping[str, float]
    """Of one call, by runtime; an engine is missing that runs none of its operators."""

    @property
    def title(self) -> str:
        return UNKNOWN if self.module is None else self.module or ROOT


def groups(profiles: Iterable[ProfileRecord]) -> list[list[ProfileRecord]]:
    """The profiles of the same call: of one model, batch and number of threads."""
    alike: dict[tuple[object, ...], list[ProfileRecord]] = defaultdict(list)
    for one in profiles:
        key = one.key
        alike[key.model, key.variant, key.onnx_sha256, key.batch, key.threads, key.device].append(one)
    return list(alike.values())


def side_by_side(profiles: Sequence[ProfileRecord]) -> list[ModuleTimes]:
    """The modules of one group in the order of their operators, what belongs to none of them last."""
    sums: dict[str | None, dict[str, float]] = {}
    for profile in profiles:
        for one in profile.operators:
            of_module = sums.setdefault(one.module, {})
            of_module[profile.key.runtime] = of_module.get(profile.key.runtime, 0.0) + one.seconds
    last = ("", None)
    return [ModuleTimes(module, sums[module]) for module in sorted(sums, key=lambda it: it in last)]
