"""The changes of the speed-ups, the ratios of two engines, from one file to another. They do not decide the gate."""

from collections.abc import Sequence
from typing import Literal

import numpy as np

from bench.gate.decision import LEVEL
from bench.gate.multiplicity import holm
from bench.gate.quantities import doubts, mean, per_process
from bench.gate.welch import Contrast, contrast, stacked
from bench.keys import case_name
from study.records.bench import ComparisonRecord
from study.records.gate import SpeedUpChange


def speed_ups(pairs: Sequence[tuple[ComparisonRecord, ComparisonRecord]]) -> tuple[SpeedUpChange, ...]:
    """The change of each speed-up, tested on both sides, with Holm's allowance for their number."""
    contrasts: list[Contrast | None] = []
    reasons = []
    for pair in pairs:
        old, new = (list(per_process(record).values()) for record in pair)
        few = ["fewer than 2 valid processes"] if min(len(old), len(new)) < 2 else []
        reasons.append((*doubts(pair), *few))
        contrasts.append(None if reasons[-1] else contrast(old, new))
    tested = [it for it in contrasts if it]
    shown: dict[int, bool] = {}
    if tested:
        family = stacked(tested)
        p_values = holm(2 * np.minimum(family.p_above(0.0), family.p_below(0.0)))
        shown = {id(it): p <= LEVEL for it, p in zip(tested, p_values.tolist(), strict=True)}
    return tuple(
        SpeedUpChange(
            name=case_name(new.key, new.reference),
            old=mean(per_process(old).values()),
            new=mean(per_process(new).values()),
            ratio=found.interval() if found else None,
            verdict="withheld" if not found else _verdict(found) if shown[id(found)] else "no change shown",
            reasons=why,
        )
        for (old, new), found, why in zip(pairs, contrasts, reasons, strict=True)
    )


def _verdict(found: Contrast) -> Literal["rose", "fell"]:
    return "rose" if found.difference > 0 else "fell"
