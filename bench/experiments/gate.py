"""Simulated sessions of 36 cases: how often does the gate fail, pass, or not decide, by the true growth of one case?"""

from argparse import Namespace

import numpy as np
from numpy.typing import NDArray

from bench.gate.decision import decide
from bench.gate.welch import contrast

CASES = 36
"""As many as the default study has: six models, two runtimes, three batches."""
DEVIATIONS = (0.003, 0.0066, 0.01, 0.0125)
"""Between processes; 0.66 % and 1.25 % are those of docs/method.md."""
GROWTHS = (0.0, 0.03, 0.05, 0.08, 0.10)
LIMITS = (0.0, 0.02, 0.03, 0.05)
ERROR = 0.05


def run(options: Namespace) -> bool:
    sessions = (options.repetitions or 40) * 100
    rng = np.random.default_rng(36)
    print(f"{sessions} pairs of simulated sessions of {CASES} cases; one case grows, the others do not")
    print("all grow: each of the cases grows by the limit, and no failure is right")
    worst = 0.0
    for deviation in DEVIATIONS:
        for processes in (5, 10):
            print(f"\nprocess standard deviation {deviation:.2%}, {processes} processes: fails / passes / undecided, %")
            print("limit    all grow  " + "  ".join(f"{growth:>14.0%}" for growth in GROWTHS))
            for limit in LIMITS:
                family = _shares(rng, sessions, processes, deviation, np.full(CASES, limit), limit)
                worst = max(worst, family[0])
                cells = []
                for growth in GROWTHS:
                    one = np.array([growth] + [0.0] * (CASES - 1))
                    cells.append(_shares(rng, sessions, processes, deviation, one, limit))
                    if growth >= limit:  # then passing is wrong
                        worst = max(worst, cells[-1][1])
                row = "  ".join("/".join(f"{100 * share:4.0f}" for share in cell) for cell in cells)
                print(f"{limit:5.0%}  {family[0]:9.1%}  {row}")
    print(f"\nlargest rate of a wrong exit code 0 or 1: {worst:.1%}; expected at most {ERROR:.0%}, within its error")
    reached: bool = worst <= ERROR + 3 * (ERROR * (1 - ERROR) / sessions) ** 0.5
    return reached


def _shares(
    rng: np.random.Generator, sessions: int, processes: int, deviation: float, growth: NDArray[np.float64], limit: float
) -> tuple[float, float, float]:
    """Shares of sessions that fail, pass and do not decide."""
    old, new = rng.normal(0, deviation, (2, sessions, CASES, processes))
    verdicts = decide(contrast(np.exp(old), np.exp(new + np.log1p(growth)[:, None])), np.log1p(limit))
    fails = (verdicts == "slower").any(axis=1)
    passes = np.isin(verdicts, ["within the limit", "faster"]).all(axis=1)
    return float(fails.mean()), float(passes.mean()), float((~fails & ~passes).mean())
