"""A machine with two speeds: sessions beside a process that contends for the caches in random stretches of 5 to 60 s.

The ratio of each should be that of the sessions without it, before and after, or withheld. On a machine of one's own
the contender is seen too, as another process that computes; the blocks at full speed show what is not seen so.
"""

from argparse import Namespace

from bench.experiments.common import beside, made_with, session, verdict
from study.records.bench import ComparisonRecord
from study.student import mean_interval

WITHIN = 0.02
QUIET = 3
"""Sessions without the contender before, and after."""
CONTENDER = """
import random, time
import numpy as np
matrix, large = np.ones((256, 256), np.float32), np.ones(2**23, np.float32)
while True:
    until = time.monotonic() + random.uniform(5, 60)
    while time.monotonic() < until:
        matrix @ matrix
        large.max()
    time.sleep(random.uniform(5, 60))
"""
"""On one thread, because `limit_threads` sets OMP_NUM_THREADS."""


def measured(options: Namespace, name: str, repetitions: int) -> list[ComparisonRecord]:
    """Sessions, each printed."""
    records = []
    for n in range(repetitions):
        (record,) = session(options, f"torch,{options.runtime}").comparisons
        ratio, blocks = record.ratio, sum(one.blocks for one in record.processes)
        fast = sum(one.full_speed_blocks for one in record.processes)
        values = f"{ratio.value:.4f} ({ratio.low:.4f} to {ratio.high:.4f}), {fast} of {blocks} blocks at full speed"
        print(f"{n + 1:3}  {name}: {values}: {verdict(record)}", flush=True)
        records.append(record)
    return records


def run(options: Namespace) -> bool:
    repetitions = options.repetitions or 20
    place = f"{options.model}, torch over {options.runtime}, batch {options.batch}"
    print(f"{place}, {repetitions} sessions beside a contender; {made_with()}")
    quiet = measured(options, "quiet", QUIET)
    with beside(CONTENDER):
        contended = measured(options, "contended", repetitions)
    quiet += measured(options, "quiet", QUIET)
    undisturbed = mean_interval([one.ratio.value for one in quiet]).value
    shown = [one.ratio for one in contended if one.verdict != "withheld"]
    far = sum(abs(ratio.value / undisturbed - 1) > WITHIN for ratio in shown)
    withheld = sum(one.verdict == "withheld" for one in quiet)
    print(f"undisturbed {undisturbed:.4f}; {withheld} of {len(quiet)} quiet sessions withheld")
    print(f"{len(contended) - len(shown)} of {repetitions} withheld; {far} of the others off by over {WITHIN:.0%}")
    return not far
