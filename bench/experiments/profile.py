"""Profiles in fresh processes: do operators and the time outside of them add up to a call without the profiler?"""

from argparse import Namespace
from dataclasses import replace
from itertools import product
from statistics import median

from bench.experiments.common import at_least, budget_of, case_of, made_with
from bench.measure import Process
from bench.processes import run as run_worker
from bench.profile.measure import WITHIN, ProfileTask
from bench.worker import Job

RUNTIMES, BATCHES = ("torch", "onnxruntime", "openvino"), (1, 32)
REPETITIONS = 5
SHARE = 0.9


def run(options: Namespace) -> bool:
    repetitions, budget = options.repetitions or REPETITIONS, budget_of(options)
    print(f"{options.model}, {repetitions} profiles each; {made_with()}")
    every: list[float] = []
    for runtime, batch in product(RUNTIMES, BATCHES):
        task = ProfileTask(replace(case_of(options), runtime=runtime, batch=batch))
        found, slower = [], []
        for n in range(repetitions):
            for message in run_worker(Job((task,), Process(n + 1, budget, n), again=False)):
                if message.failed:
                    print(message.failed)
                if message.result:
                    record = message.result.record
                    found.append(record.accounted)
                    slower.append(record.profiled_seconds / record.unprofiled_seconds)
        if found:
            values = " ".join(f"{value:.3f}" for value in found)
            print(
                f"{runtime} batch {batch}: {values}; with the profiler {median(slower):.2f} times as long", flush=True
            )
        every += found
    near = sum(abs(value - 1) <= WITHIN for value in every)
    return at_least(f"profiles within {WITHIN:.0%} of the median without the profiler", near, len(every), SHARE)
