"""One engine under three names, in the same sessions: twice as it is, and once with 3 % more work.

    pytest bench --runtimes bench.experiments.twice:Plain,bench.experiments.twice:Again,bench.experiments.twice:Slow

The first is the reference of both comparisons. All three are wrapped alike, so that the wrapper makes no difference.
"""

import time
from argparse import Namespace
from collections.abc import Iterator, Sequence
from statistics import median
from typing import Any

import numpy as np

from bench.experiments.common import kept_session, made_with
from bench.runtimes.onnx_runtime import ONNXRuntime
from study.records.bench import ComparisonRecord

PLANTED = 0.03
SESSIONS = 40
SECONDS = 0.5
FAR = 0.02
NAMES = [f"{__name__}:{name}" for name in ("Plain", "Again", "Slow")]


class Plain(ONNXRuntime):
    """ONNX Runtime, then busy waiting for a share of the time that the call took."""

    more = 0.0

    def run(self, inputs: Any) -> Any:
        clock = time.perf_counter
        begin = clock()
        outputs = super().run(inputs)
        now = clock()
        until = now + self.more * (now - begin)
        while clock() < until:
            pass
        return outputs


class Again(Plain):
    """The same."""


class Slow(Plain):
    """With more work."""

    more = PLANTED


def comparisons(options: Namespace, name: str) -> Iterator[ComparisonRecord]:
    """The comparison of `Plain` with the class of this name, of each session; sessions are kept and used again."""
    repetitions, seconds = options.repetitions or SESSIONS, options.seconds or SECONDS
    print(f"{options.model}, batch {options.batch}, {repetitions} sessions, --seconds {seconds}; {made_with()}")
    words = ["--models", options.model, "--batches", str(options.batch), "--runtimes", ",".join(NAMES)]
    for n in range(repetitions):
        folder = options.keep / f"twice-{options.model}-{options.batch}"
        record = kept_session(options, [*words, "--seconds", str(seconds)], folder / f"{n + 1}.json")
        yield next(one for one in record.comparisons if one.key.runtime == f"{__name__}:{name}")


def processes(records: Sequence[ComparisonRecord]) -> str:
    """How much the ratios of single processes differ, and the blocks of their rounds, one each unless disturbed."""
    every = [process for record in records for process in record.processes if process.valid]
    ratios = np.array([process.ratio for process in every])
    deviation = np.std(np.log(ratios), ddof=1)
    far = int(np.sum(np.abs(np.log(ratios / median(ratios))) > FAR))
    rounds, blocks = sum(process.rounds for process in every), sum(process.blocks for process in every)
    return (
        f"{len(every)} processes: standard deviation {deviation:.2%}, {far} off by over {FAR:.0%}; "
        f"{blocks} blocks in {rounds} rounds"
    )
