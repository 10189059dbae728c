"""OpenVINO's performance counters: the mean time of each node over all calls, in whole microseconds, rounded down.

Calls that were disturbed are in these means, so they are scaled by the time of the calls around the median.
"""

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from typing import Any

import numpy as np

from bench import runtimes
from bench.cases import Engine, opened
from bench.models import Inputs
from bench.profile import Source
from bench.profile.accounts import Event, Operator, around_median
from bench.profile.onnx_chain import opened_chain
from bench.runtimes import Setting
from study.onnx_modules import read_modules

NO_WORK = ("Parameter", "Result", "Constant")


class OpenVINOSource(Source):
    """A second compiled model, with counters."""

    own_share = 0.0  # 0.05 µs altogether
    resolution_seconds = 1e-6

    @contextmanager
    def opened(self, plain: Engine, pool: Sequence[Inputs]) -> Iterator[Engine]:
        kind: Any = runtimes.find(plain.case.runtime)

        class Counted(kind):  # type: ignore[misc]
            def __init__(self, model: Any, setting: Setting) -> None:
                super().__init__(model, replace(setting, options={**setting.options, "PERF_COUNT": "YES"}))

        with opened(plain.case, pool, Counted) as engine:
            yield engine

    def calls(self, engine: Engine, walls: Sequence[float]) -> list[list[Event]]:
        runtime: Any = engine.runtime
        times = np.asarray(walls)
        scale = float(times[around_median(walls)].mean() / times.mean())
        executed = [
            Event(one.node_name, one.node_type, scale * one.real_time.total_seconds(), kernel=one.exec_type)
            for one in runtime.request.get_profiling_info()
            if one.node_type not in NO_WORK and one.exec_type != "undef"
        ]
        return [executed] * len(walls)

    def located(self, engine: Engine, operators: Sequence[Operator]) -> list[Operator]:
        modules = read_modules(engine.case.model.onnx)
        return [replace(one, module=modules.of(one.name, one.kind)) for one in operators]

    def chain(self, plain: Engine, length: int) -> AbstractContextManager[Engine]:
        return opened_chain(plain, self.folder, length)
