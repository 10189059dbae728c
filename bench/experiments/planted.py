"""An engine with 3 % more work against the same engine without: it should be shown to be slower, never faster."""

import time
from argparse import Namespace
from dataclasses import replace
from statistics import median
from typing import Any

from bench import measure
from bench.cases import opened
from bench.experiments.common import budget_of, case_of, interval, made_with, verdict
from bench.runtimes import Runtime, find
from bench.sampling import warm_up

PLANTED = 0.03
SHOWN = 0.95

Plain: type[Runtime]
Slow: type[Runtime]
"""The runtime without and with the extra work, both wrapped alike; `run` creates them."""


def wrapped(runtime: type[Runtime], extra_seconds: float) -> type[Runtime]:
    """`runtime` with `extra_seconds` of busy waiting after each inference."""

    class Wrapped(runtime):  # type: ignore[valid-type, misc]
        def run(self, inputs: Any) -> Any:
            outputs = super().run(inputs)
            begin = time.perf_counter()
            while time.perf_counter() - begin < extra_seconds:
                pass
            return outputs

    return Wrapped


def run(options: Namespace) -> bool:
    global Plain, Slow
    case, repetitions = case_of(options), options.repetitions or 40
    plain, slow = (replace(case, runtime=f"{__name__}:{name}") for name in ("Plain", "Slow"))
    Plain = wrapped(find(options.runtime), 0)
    with opened(plain, case.model.pool(case.batch)) as engine, engine.runtime.context():
        Slow = wrapped(find(options.runtime), PLANTED * warm_up(engine.once).call_seconds)
    print(f"{case}, {PLANTED:.0%} planted, {repetitions} repetitions; {made_with()}")
    verdicts, slowdowns = [], []
    for n in range(repetitions):
        record = measure.comparison(plain, slow, budget_of(options), seed=n)
        verdicts.append(record.verdict)
        slowdowns.append(1 / record.ratio.value - 1)
        print(f"{n + 1:3}  {interval(record)}: {verdict(record)}", flush=True)
    shown = verdicts.count("slower") / repetitions
    print(f"slower is shown in {shown:.1%}, faster in {verdicts.count('faster')} of {repetitions}")
    print(f"slowdown: median {median(slowdowns):.2%}, {min(slowdowns):.2%} to {max(slowdowns):.2%}")
    return shown >= SHOWN and "faster" not in verdicts
