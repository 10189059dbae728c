"""Twenty sessions of six models in two engines: do the intervals of one session hold for the others?

For each ratio: Cochran's Q of the sessions given their intervals, and how many of the intervals contain the mean of all
sessions. And the gate: does `bench compare` of one session with the next report a difference, although nothing changed?
"""

from argparse import Namespace
from collections import defaultdict
from collections.abc import Sequence
from statistics import median

from bench.experiments.common import at_least, kept_session, made_with, width
from bench.gate.compare import compare
from bench.gate.limits import LIMITS
from bench.keys import case_name
from bench.statistics.estimates import combined, homogeneity
from study.records.bench import BenchRecord, ComparisonRecord

SESSIONS = 20
SECONDS = 0.5
RATIOS = 10 / 12
HOLD = 17 / 20
LEAST_P = 0.01


def run(options: Namespace) -> bool:
    repetitions, seconds = options.repetitions or SESSIONS, options.seconds or SECONDS
    print(f"six models, batches 1 and 32, {repetitions} sessions, --seconds {seconds}; {made_with()}")
    words = ["--runtimes", "torch,onnxruntime", "--batches", "1,32", "--seconds", str(seconds)]
    records = []
    for n in range(repetitions):
        records.append(kept_session(options, words, options.keep / "sessions" / f"{n + 1}.json"))
        valid = sum(one.valid for one in records[-1].comparisons)
        print(f"{n + 1:3}  {valid} of {len(records[-1].comparisons)} comparisons valid", flush=True)
    return all([same_ratios(records), no_false_alarm(records)])


def same_ratios(records: Sequence[BenchRecord]) -> bool:
    """Whether the ratios of the sessions differ by no more than their intervals say; prints a line for each."""
    series: dict[str, list[ComparisonRecord]] = defaultdict(list)
    for record in records:
        for one in record.comparisons:
            if one.valid:
                series[case_name(one.key)].append(one)
    alike = held = 0
    print("valid sessions, mean of all, half-width in the median session; Q and its p; intervals that hold the mean")
    for name, several in series.items():
        ratios = [one.ratio for one in several]
        if len(ratios) < 2:
            print(f"{name}: {len(ratios)} valid, too few")
            continue
        mean = combined(ratios).value
        q, p = homogeneity(ratios, [sum(process.valid for process in one.processes) for one in several])
        inside = sum(ratio.low <= mean <= ratio.high for ratio in ratios)
        half = median(map(width, ratios)) / 2
        print(f"{name}: {len(ratios)}, {mean:.3f}, ±{half:.2%}; {q:.1f}, p = {p:.3f}; {inside} of {len(ratios)}")
        alike += p > LEAST_P
        held += inside >= HOLD * len(ratios)
    n = max(1, len(series))
    return all(
        (
            at_least(f"ratios whose sessions are alike (p > {LEAST_P})", alike, n, RATIOS),
            at_least(f"ratios whose mean is in {HOLD:.0%} of the intervals", held, n, RATIOS),
        )
    )


def no_false_alarm(records: Sequence[BenchRecord]) -> bool:
    """Whether the gate finds no difference between a session and the next; 0 % is allowed, so that nothing hides."""
    limits = dict.fromkeys(LIMITS, 0.0)
    changes = [
        change
        for old, new in zip(records[::2], records[1::2], strict=False)
        for change in compare(old, new, limits, metrics=("median",)).changes
    ]
    decided = [change for change in changes if change.verdict != "withheld"]
    alarms = [change for change in decided if change.verdict in ("slower", "faster")]
    for change in alarms:
        print(f"false alarm: {change.name} {change.verdict}, new / old {change.ratio.value if change.ratio else 1:.3f}")
    withheld = len(changes) - len(decided)
    print(f"gate: {len(alarms)} of {len(decided)} cases slower or faster, {withheld} withheld; expected 0")
    return not alarms and bool(decided)
