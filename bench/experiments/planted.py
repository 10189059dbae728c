"""An engine with 3 % more work against the same engine without: it should be shown to be slower, never faster.

The sessions are those of `control`: whichever experiment is run first measures them.
"""

from argparse import Namespace
from statistics import median

from bench.experiments.common import at_least, interval, verdict
from bench.experiments.twice import PLANTED, comparisons, processes

SHOWN = 38 / 40


def run(options: Namespace) -> bool:
    records = []
    for n, record in enumerate(comparisons(options, "Slow"), 1):
        records.append(record)
        print(f"{n:3}  {interval(record.ratio)}: {verdict(record)}", flush=True)
    n = len(records)
    slower, faster = sum(record.ratio.high < 1 for record in records), sum(record.ratio.low > 1 for record in records)
    slowdowns = [1 / record.ratio.value - 1 for record in records]
    print(f"withheld: {sum(not record.valid for record in records)} of {n}")
    print(processes(records))
    print(
        f"slowdown, {PLANTED:.0%} planted: median {median(slowdowns):.2%}, {min(slowdowns):.2%} to {max(slowdowns):.2%}"
    )
    print(f"shown faster in {faster}; expected 0")
    return at_least("shown slower", slower, n, SHOWN) and not faster
