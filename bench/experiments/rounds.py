"""The rounds of a comparison: how much do their ratios differ, and so the ratio of a process by chance?

`simulated` gives the ratio of a process a standard deviation of 0.35 % beside that of the process itself. A default
session has fewer rounds than `simulated`; the experiment is reached where they are no noisier.
"""

import math
from argparse import Namespace
from dataclasses import replace

import numpy as np

from bench.experiments.common import budget_of, case_of, made_with
from bench.full_speed import found_level
from bench.keys import short_name
from bench.measure import Process, comparison
from bench.pairing import FEWEST_ROUNDS
from bench.statistics.pilot import Shares

REPETITIONS, ROUNDS = 5, 24
NOISE = 0.0035


def run(options: Namespace) -> bool:
    repetitions = options.repetitions or REPETITIONS
    case = replace(case_of(options), against=("torch",))
    torch = replace(case, runtime="torch", against=())
    print(f"{case} against torch, {ROUNDS} rounds, {repetitions} times; {made_with()}")
    shares = {short_name(case.key, torch.runtime): Shares(1, ROUNDS)}  # rounds of one block, as in a default session
    level, deviations = found_level(), []
    for seed in range(1, repetitions + 1):
        process = Process(seed, budget_of(options), seed, shares=shares, level=level, fewest_rounds=ROUNDS)
        once = comparison(torch, case, process)
        ratios = [float(np.median(blocks)) for blocks in once.log_ratios]
        deviations.append(float(np.std(ratios, ddof=1)))
        print(f"{len(ratios)} rounds at full speed differ by {deviations[-1]:.2%} (standard deviation)", flush=True)
    noise = float(np.median(deviations)) / math.sqrt(FEWEST_ROUNDS)
    print(f"a process of {FEWEST_ROUNDS} rounds by {noise:.2%} in the median; expected at most {NOISE:.2%}")
    return noise <= NOISE
