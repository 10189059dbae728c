"""The same engine as a case and in turns: do both find the same time?

Where in memory an engine lies decides how fast it is, and what else is loaded decides where it lies. So a case is
loaded among the engines that a comparison would load (bench/among.py); here it is loaded by itself too.
"""

from argparse import Namespace
from dataclasses import replace

from bench.experiments.common import budget_of, case_of, interval, made_with
from bench.measure import Process, comparison, latency
from study.student import mean_interval

WITHIN = 0.02
REPETITIONS = 10


def run(options: Namespace) -> bool:
    repetitions = options.repetitions or REPETITIONS
    case = replace(case_of(options), against=("torch",))
    print(f"{case}, {repetitions} times each; {made_with()}")
    seconds: dict[str, list[float]] = {"as a case": [], "as a case, alone": [], "in turns": []}
    for seed in range(1, repetitions + 1):
        process = Process(seed, budget_of(options), seed)
        seconds["as a case"].append(latency(case, process).process.median_seconds)
        seconds["as a case, alone"].append(latency(case, process, alone=True).process.median_seconds)
        in_turns = comparison(replace(case, runtime="torch", against=()), case, process).process.runtime_seconds
        assert in_turns is not None
        seconds["in turns"].append(in_turns)
    for name, several in seconds.items():
        one = mean_interval(several)
        print(f"{name:18} {1e6 * one.value:.1f} µs ({1e6 * one.low:.1f} to {1e6 * one.high:.1f})", flush=True)
    ratio = mean_interval([a / b for a, b in zip(seconds["in turns"], seconds["as a case"], strict=True)])
    print(f"in turns over as a case: {interval(ratio)}; expected within {WITHIN:.0%}")
    return abs(ratio.value - 1) <= WITHIN
