"""The ratio of torch to the runtime in separate invocations of `pytest bench`: how far do they lie apart?"""

from argparse import Namespace

from bench.experiments.common import interval, made_with, said, session
from bench.pairing import between

SPREAD = 0.03


def run(options: Namespace) -> bool:
    repetitions = options.repetitions or 5
    place = f"{options.model}, torch over {options.runtime}, batch {options.batch}"
    print(f"{place}, {repetitions} invocations; {made_with()}")
    ratios = []
    for n in range(repetitions):
        (record,) = session(options, f"torch,{options.runtime}")["comparisons"]
        ratios.append(record["ratio"])
        print(f"{n + 1:3}  {interval(record)}: {said(record)}", flush=True)
    spread = between(ratios) or 0.0
    print(f"largest over smallest ratio, less 1: {spread:.2%}; expected at most {SPREAD:.0%}")
    return spread <= SPREAD
