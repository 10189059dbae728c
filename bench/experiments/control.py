"""The same engine twice, loaded twice: the interval should contain 1, and no difference should be shown."""

from argparse import Namespace
from statistics import median

from bench import measure
from bench.experiments.common import budget_of, case_of, interval, made_with, verdict, width

HELD, SHOWN, WIDTH = 0.95, 0.05, 0.02


def run(options: Namespace) -> bool:
    case, repetitions = case_of(options), options.repetitions or 40
    print(f"{case} against itself, {repetitions} repetitions; {made_with()}")
    records = []
    for n in range(repetitions):
        record = measure.comparison(case, case, budget_of(options), seed=n)
        records.append(record)
        print(f"{n + 1:3}  {interval(record)}: {verdict(record)}", flush=True)
    held = sum(r.ratio.low <= 1 <= r.ratio.high for r in records) / repetitions
    controls = [c for r in records for c in (r.controls.reference, r.controls.runtime)]
    held_controls = sum(c.low <= 1 <= c.high for c in controls) / len(controls)
    shown = sum(r.verdict in ("faster", "slower") for r in records) / repetitions
    widths = [width(r.ratio) for r in records]
    print(f"the interval contains 1 in {held:.1%} for the engine loaded twice, in {held_controls:.1%} for the controls")
    print(f"a difference is shown in {shown:.1%}; expected at most {SHOWN:.0%}")
    print(
        f"width of the interval: median {median(widths):.2%}, largest {max(widths):.2%}; expected at most {WIDTH:.0%}"
    )
    withheld = sum(not r.valid for r in records)
    print(f"{withheld} of {repetitions} withheld; expected none")
    return held >= HELD and shown <= SHOWN and median(widths) <= WIDTH and not withheld
