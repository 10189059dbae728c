"""OpenVINO's performance counters: the mean time of each node over all calls, in whole microseconds, rounded down.

Calls that were disturbed are in these means, so they are scaled by the time of the calls around the median.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from pathlib import Path
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


def between(before: Mapping[str, Sequence[str]], known: Mapping[str, str | None]) -> dict[str, str | None]:
    """The modules of the nodes of a graph: of a node without one that of those before and behind it, if they share one.

    OpenVINO makes several nodes of one, an LSTM for example, with names of its own.

    Args:
        before: the names of the nodes that a node takes its inputs from, by its name.
        known: the modules by the names of the nodes; None where the name does not tell.
    """
    behind: dict[str, list[str]] = {}
    for name, several in before.items():
        for one in several:
            behind.setdefault(one, []).append(name)
    found = dict(known)
    for name in (name for name, module in known.items() if module is None):
        both = _nearest(name, before, known) & _nearest(name, behind, known)
        found[name] = both.pop() if len(both) == 1 else None
    return found


def _nearest(start: str, links: Mapping[str, Sequence[str]], known: Mapping[str, str | None]) -> set[str]:
    """The modules of the nearest nodes that have one, in one direction."""
    seen, ahead, found = {start}, [start], set()
    for name in ahead:  # which grows
        for one in links.get(name, ()):
            module = known.get(one)
            if module is not None:
                found.add(module)
            elif one not in seen:
                seen.add(one)
                ahead.append(one)
    return found


class OpenVINOSource(Source):
    """A second compiled model, with counters."""

    own_share = 0.0  # 0.05 µs altogether
    resolution_seconds = 1e-6

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.before: dict[str, list[str]] = {}
        """Names of the nodes before each one, in the model with counters: in another one they have other numbers."""

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
        graph = {node.get_friendly_name(): node for node in runtime.compiled.get_runtime_model().get_ordered_ops()}
        self.before = {
            name: [one.get_node().get_friendly_name() for one in node.input_values()] for name, node in graph.items()
        }
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
        known = {name: modules.of(name, "") for name in self.before}
        known |= {one.name: modules.of(one.name, one.kind) for one in operators}
        inside = between(self.before, known)
        return [replace(one, module=inside.get(one.name)) for one in operators]

    def chain(self, plain: Engine, length: int) -> AbstractContextManager[Engine]:
        return opened_chain(plain, self.folder, length)
