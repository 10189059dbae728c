"""The rounds of one comparison: how much do their ratios differ, and so the ratio of a process by chance?

`simulated` gives the ratio of a process a standard deviation of 0.35 % beside that of the process itself. A default
session has fewer rounds than `simulated`; the experiment is reached where they are no noisier.
"""

import math
import statistics
from argparse import Namespace
from dataclasses import replace

import numpy as np

from bench.experiments.common import budget_of, case_of, made_with
from bench.measure import Process, comparison
from bench.pairing import FEWEST_ROUNDS

ROUNDS = 24
NOISE = 0.0035


def run(options: Namespace) -> bool:
    rounds = options.repetitions or ROUNDS
    case = replace(case_of(options), against=("torch",))
    print(f"{case} against torch, {rounds} rounds in one process; {made_with()}")
    once = comparison(
        replace(case, runtime="torch", against=()), case, Process(1, budget_of(options), 1, fewest_rounds=rounds)
    )
    ratios = [float(np.median(blocks)) for blocks in once.log_ratios]
    deviation = statistics.stdev(ratios)
    noise = deviation / math.sqrt(FEWEST_ROUNDS)
    print(f"{len(ratios)} rounds at full speed differ by {deviation:.2%} (standard deviation)")
    print(f"a process of {FEWEST_ROUNDS} rounds by {noise:.2%}; expected at most {NOISE:.2%}, as in `simulated`")
    return noise <= NOISE
