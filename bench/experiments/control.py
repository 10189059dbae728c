"""The same engine twice, in processes of its own: the interval should contain 1, and no difference should be shown."""

from argparse import Namespace
from statistics import median

from bench.experiments.common import at_least, interval, verdict, width
from bench.experiments.twice import comparisons, processes

HELD, CONTROL_HELD = 37 / 40, 37 / 40


def run(options: Namespace) -> bool:
    records = []
    for n, record in enumerate(comparisons(options, "Again"), 1):
        records.append(record)
        print(f"{n:3}  {interval(record.ratio)}: {verdict(record)}", flush=True)
    n = len(records)
    held = sum(record.ratio.low <= 1 <= record.ratio.high for record in records)
    controls = [one for record in records for one in (record.controls.reference, record.controls.runtime)]
    controls_held = sum(one.low <= 1 <= one.high for one in controls)
    print(f"withheld: {sum(not record.valid for record in records)} of {n}")
    print(processes(records))
    print(f"width of the interval: median {median(width(record.ratio) for record in records):.2%}")
    return all(
        (
            at_least("the interval of the engine under two names contains 1", held, n, HELD),
            at_least("the intervals of the controls contain 1", controls_held, len(controls), CONTROL_HELD),
        )
    )
