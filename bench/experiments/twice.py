"""One engine under three names, in the same sessions: twice as it is, and once with 3 % more work.

    pytest bench --runtimes bench.experiments.twice:Plain,bench.experiments.twice:Again,bench.experiments.twice:Slow

The first is the reference of both comparisons. All three are wrapped alike, so that the wrapper makes no difference.
"""

import time
from argparse import Namespace
from collections.abc import Iterator
from typing import Any

from bench.experiments.common import kept_session, made_with
from bench.runtimes.onnx_runtime import ONNXRuntime
from study.records.bench import ComparisonRecord

PLANTED = 0.03
SESSIONS = 40
SECONDS = 0.5
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
