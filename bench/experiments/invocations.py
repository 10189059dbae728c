"""The ratio of torch to the runtime in separate invocations of `pytest bench`: how much does it vary?

And does `bench compare` of any two of them report a difference, although there is none?
"""

from argparse import Namespace
from itertools import combinations

from bench.compare import compare
from bench.experiments.common import interval, made_with, session, verdict, width
from bench.limits import LIMITS

SPREAD, SHOWN, WIDTH = 0.03, 0.05, 0.02


def run(options: Namespace) -> bool:
    repetitions = options.repetitions or 5
    place = f"{options.model}, torch over {options.runtime}, batch {options.batch}"
    print(f"{place}, {repetitions} invocations; {made_with()}")
    sessions, ratios = [], []
    for n in range(repetitions):
        sessions.append(session(options, f"torch,{options.runtime}"))
        (record,) = sessions[-1].comparisons
        ratios.append(record.ratio.value)
        print(f"{n + 1:3}  {interval(record)}: {verdict(record)}", flush=True)
    spread = max(ratios) / min(ratios) - 1
    print(f"largest over smallest ratio, less 1: {spread:.2%}; expected at most {SPREAD:.0%}")
    changes = [
        change for old, new in combinations(sessions, 2) for change in compare(old, new, LIMITS, ["median"]).changes
    ]
    shown = sum(change.ratio is not None and not change.ratio.low <= 1 <= change.ratio.high for change in changes)
    print(f"`bench compare` of each pair: {shown} of {len(changes)} intervals exclude 1; expected at most 5 %")
    widths = [width(one.comparisons[0].ratio) for one in sessions]
    print(f"width of the interval: {min(widths):.2%} to {max(widths):.2%}; expected at most {WIDTH:.0%}")
    return spread <= SPREAD and max(widths) <= WIDTH and shown <= SHOWN * len(changes)
