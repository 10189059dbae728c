"""ONNX Runtime's own profile: a line of JSON for each node of each call.

Its clock has whole microseconds, rounded down, and describing a node takes it some 4 µs, partly within the node's own
time. So a node lasts here from its beginning to that of the next one: the mean of such differences over many calls is
not rounded, and all of the node's cost lies within them.
"""

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec

from bench import runtimes
from bench.cases import Engine, opened
from bench.models import Inputs
from bench.profile import Source
from bench.profile.accounts import Event, Operator
from bench.profile.onnx_chain import opened_chain
from study.errors import StudyError
from study.onnx_modules import read_modules

MICROSECOND = 1e-6
KERNEL = "_kernel_time"
"""End of the name of a node's line."""
ROUNDED = 0.5
"""Microseconds that the last node lacks on average: its end is a time plus a duration, both rounded down."""


class Arguments(msgspec.Struct, frozen=True):
    """What is known of an event beside its times; empty but for a node."""

    op_name: str = ""


class Line(msgspec.Struct, frozen=True):
    """An event of the profile; times in microseconds."""

    cat: str
    name: str
    ts: int
    """Its beginning."""
    dur: int
    args: Arguments = Arguments()

    @property
    def end(self) -> int:
        return self.ts + self.dur


class ONNXRuntimeSource(Source):
    """A second session, whose profile is written all the time."""

    most_per_call = 1.0  # two short lines for a call

    @contextmanager
    def opened(self, plain: Engine, pool: Sequence[Inputs]) -> Iterator[Engine]:
        prefix = str(Path(tempfile.mkdtemp(dir=self.folder)) / "profile")
        kind: Any = runtimes.find(plain.case.runtime)

        class Profiled(kind):  # type: ignore[misc]
            def configure(self, options: Any) -> None:
                super().configure(options)
                options.enable_profiling, options.profile_file_prefix = True, prefix

        with opened(plain.case, pool, Profiled) as engine:
            yield engine

    def calls(self, engine: Engine, walls: Sequence[float]) -> list[list[Event]]:
        session: Any = engine.runtime.session  # type: ignore[attr-defined]
        path = Path(session.end_profiling())
        calls = list(events(lines(path)))
        path.unlink()
        return calls

    def located(self, engine: Engine, operators: Sequence[Operator]) -> list[Operator]:
        modules = read_modules(engine.case.model.onnx)
        return [replace(one, module=modules.of(one.name, one.kind)) for one in operators]

    def chain(self, plain: Engine, length: int) -> AbstractContextManager[Engine]:
        return opened_chain(plain, self.folder, length)


def lines(path: Path) -> Iterator[Line]:
    """The events of a profile, an object a line of the array.

    Raises:
        StudyError: it is none.
    """
    try:
        decoder = msgspec.json.Decoder(Line)
        with path.open(encoding="utf-8", errors="replace") as file:
            for line in file:
                if (text := line.strip().rstrip(",")) not in ("[", "]", ""):
                    yield decoder.decode(text)
    except (ValueError, msgspec.MsgspecError) as error:
        raise StudyError(f"the profile of ONNX Runtime cannot be read: {error}") from None


def events(profile: Iterator[Line]) -> Iterator[list[Event]]:
    """The nodes of each call; those inside of another one, such as the body of a loop, count for it."""
    nodes: list[Line] = []
    executed: Line | None = None
    for one in profile:
        if one.cat == "Node" and one.name.endswith(KERNEL):
            nodes.append(one)
        elif one.name == "SequentialExecutor::Execute":
            executed = one
        elif one.name == "model_run":
            if executed is not None:
                yield _events(nodes, executed.end + ROUNDED)
            nodes, executed = [], None


def _events(nodes: list[Line], end: float) -> list[Event]:
    """The outermost nodes of a call that ended at `end` microseconds."""
    outer: list[tuple[Line, int]] = []
    until = 0.0
    for node in sorted(nodes, key=lambda one: (one.ts, -one.dur)):
        if outer and node.ts < until:
            outer[-1] = outer[-1][0], outer[-1][1] + 1
        else:
            outer.append((node, 1))
            until = node.end
    starts = [node.ts for node, _ in outer] + [end]
    return [
        Event(node.name.removesuffix(KERNEL), node.args.op_name, (after - before) * MICROSECOND, count)
        for (node, count), before, after in zip(outer, starts, starts[1:], strict=False)
    ]
