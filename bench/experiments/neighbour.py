"""Another process keeps one core busy: every record should report it, and the ratio should stay or be withheld."""

import subprocess
import sys
from argparse import Namespace
from collections.abc import Iterator
from contextlib import contextmanager

from bench.experiments.common import interval, made_with, session, verdict

STAYS = 0.05


@contextmanager
def busy() -> Iterator[None]:
    """Another process that computes without end."""
    process = subprocess.Popen([sys.executable, "-c", "while True: pass"])
    try:
        yield
    finally:
        process.kill()
        process.wait()


def run(options: Namespace) -> bool:
    repetitions = options.repetitions or 5
    place = f"{options.model}, torch over {options.runtime}, batch {options.batch}"
    print(f"{place}, {repetitions} sessions quiet and busy; {made_with()}")
    reached = True
    for n in range(repetitions):
        (quiet,) = session(options, f"torch,{options.runtime}").comparisons
        with busy():
            busy_session = session(options, f"torch,{options.runtime}")
        (disturbed,) = busy_session.comparisons
        records = [disturbed, *busy_session.cases]
        reported = sum(any("other processes" in reason for reason in record.reasons) for record in records)
        moved = disturbed.ratio.value / quiet.ratio.value - 1
        print(f"{n + 1:3}  quiet {interval(quiet.ratio)}: {verdict(quiet)}")
        print(f"     busy  {interval(disturbed.ratio)}, so it moved by {moved:+.2%}: {verdict(disturbed)}")
        print(f"     {reported} of {len(records)} records report other processes", flush=True)
        reached &= reported == len(records) and (abs(moved) <= STAYS or disturbed.verdict == "withheld")
    return reached
