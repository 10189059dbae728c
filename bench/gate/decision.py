"""The decision of the gate: which quantities are shown to be slower than a limit, and which are shown not to be.

Three answers, because the absence of proof is no proof of absence: shown slower, shown not slower, undecided.
"""

from collections.abc import Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from bench.gate.multiplicity import holm
from bench.gate.welch import Contrast
from study.records.gate import GateVerdict

LEVEL = 0.05
"""Chance of a wrong exit code: of 1 although nothing is slower than the limit, and of 0 although something is."""


def decide(
    contrast: Contrast,
    log_limits: NDArray[np.float64] | float,
    slowed: NDArray[np.float64] | float = 0.0,
    quickened: NDArray[np.float64] | float = 0.0,
) -> NDArray[np.str_]:
    """A verdict for each contrast along the last axis, all of one family; none of them is withheld.

    `log_limits` are the logarithms of the largest ratios allowed; `slowed` >= 0 and `quickened` <= 0 those of the
    change of the machine's own speed from old to new.

    - slower: tested with Holm's allowance, so that the chance of even one false alarm in the family is LEVEL.
    - within the limit: each is tested at LEVEL. No allowance is needed, because the gate passes only if all are shown:
      an intersection-union test, Berger, Technometrics 24(4), 1982, 295-300.
    - faster: as slower, with Holm's allowance, against no change.

    How much of the machine's change an engine takes part in is not known: anything between nothing and all of it is
    allowed for, against the verdict in question. Nothing is divided by it.
    """
    slower = holm(contrast.p_above(log_limits + slowed)) <= LEVEL
    within = contrast.p_below(log_limits + quickened) <= LEVEL
    faster = holm(contrast.p_below(quickened)) <= LEVEL
    return np.select([slower, faster, within], ["slower", "faster", "within the limit"], "undecided")


def exit_code(verdicts: Sequence[str]) -> Literal[0, 1, 3]:
    """1 if any quantity is shown slower; 0 if each is shown not to be, and there is one; 3 if that is not decided."""
    if "slower" in verdicts:
        return 1
    passed = verdicts and all(verdict in ("within the limit", "faster") for verdict in verdicts)
    return 0 if passed else 3


def exact(ratio: float, limit: float) -> GateVerdict:
    """The verdict on a quantity that does not vary, such as a file's size."""
    if ratio > (1 + limit) * (1 + 1e-12):
        return "slower"
    return "faster" if ratio < 1 else "within the limit"
