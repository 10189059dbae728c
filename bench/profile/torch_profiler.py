"""torch.profiler: the operators that the network calls, each with those that it calls itself.

Which module calls an operator is not recorded, because hooks would slow the calls down further: one more call, which is
not timed, has them, and runs the same operators in the same order.
"""

import itertools
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.autograd.profiler import profile, record_function

from bench.cases import Engine
from bench.profile import Source
from bench.profile.accounts import Event, Operator
from bench.profile.torch_script import modules_of

CALL, MODULE = "fashionbench call", "fashionbench module "
CONTAINERS = ("TorchDynamo", "Torch-Compiled Region", "Pregraph", "AOTDispatcher", "## Call")
"""Beginnings of the names of what torch.compile runs: kernels of its own and, inside, operators."""
SCRIPT = "forward"
"""The name of what TorchScript runs: the operators inside, and its own kernels, such as those of mkldnn."""
NANOSECOND = 1e-9


@dataclass
class Span:
    """An event of the profiler, with those inside of it."""

    name: str
    start: int
    """Nanoseconds."""
    end: int
    annotation: bool
    """Whether it is a mark, and no operator."""
    inner: list["Span"] = field(default_factory=list)

    @property
    def own(self) -> int:
        """Nanoseconds outside of those inside."""
        return self.end - self.start - sum(one.end - one.start for one in self.inner)

    def all(self) -> Iterator["Span"]:
        """This one and all inside of it."""
        yield self
        for one in self.inner:
            yield from one.all()


class TorchSource(Source):
    own_share = 0.5

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.profiles: list[profile] = []

    @contextmanager
    def recording(self) -> Iterator[None]:
        with recorded() as recording:
            yield
        self.profiles.append(recording)

    def inputs(self, engine: Engine) -> Iterator[Any]:
        for given in engine.inputs:
            with record_function(CALL):
                pass
            yield given

    def calls(self, engine: Engine, walls: Sequence[float]) -> list[list[Event]]:
        calls: list[list[Event]] = []
        for one in self.profiles:
            for span in tree(spans(one)):
                if span.name == CALL:
                    calls.append([])
                elif calls:
                    calls[-1] += operators(span)
        self.profiles.clear()
        return calls

    def located(self, engine: Engine, operators: Sequence[Operator]) -> list[Operator]:
        network = getattr(engine.runtime, "network", None)
        script = getattr(getattr(engine.runtime, "compiled", None), "call", None)
        if isinstance(network, nn.Module) and isinstance(script, torch.jit.ScriptModule):
            return _with_paths(engine, operators, modules_of(script, network, [one.name for one in operators]))
        if not isinstance(network, nn.Module) or getattr(engine.runtime, "call", network) is not network:
            return list(operators)
        with engine.runtime.context(), recorded() as recording, named(network):
            engine.once()
        found = list(with_modules(tree(spans(recording))))
        if [name for name, _ in found] != [one.name for one in operators]:
            return list(operators)
        return _with_paths(engine, operators, [path for _, path in found])

    @contextmanager
    def chain(self, plain: Engine, length: int) -> Iterator[Engine]:
        network = nn.Sequential(*(layer for _ in range(length) for layer in _layers())).eval()
        given = torch.ones(1, 8, 10, 10)
        yield replace(plain, call=network, inputs=itertools.repeat(given))


def _layers() -> list[nn.Module]:
    """Of small networks, so that recording costs what it does there."""
    flat = [nn.Flatten(), nn.Linear(800, 16), nn.Linear(16, 800), nn.Unflatten(1, (8, 10, 10))]
    return [nn.Conv2d(8, 8, 3, padding=1), nn.ReLU(), nn.MaxPool2d(3, 1, 1), *flat]


def _with_paths(engine: Engine, operators: Sequence[Operator], paths: Sequence[str | None]) -> list[Operator]:
    trained = engine.case.model.run is not None
    modules = [_of_network(path) if trained and path is not None else path for path in paths]
    return [replace(one, module=module) for one, module in zip(operators, modules, strict=True)]


def _of_network(path: str) -> str:
    """The path in a trained network, which the bench puts into a Sequential with the softmax."""
    return path.partition(".")[2] if path.partition(".")[0] == "0" else ""


@contextmanager
def recorded() -> Iterator[profile]:
    with profile(use_cpu=True, use_kineto=True) as recording:
        yield recording


@contextmanager
def named(network: nn.Module) -> Iterator[None]:
    """Mark the calls of each module in the profile."""
    open_marks: list[Any] = []
    handles = []

    def begin(path: str) -> Any:
        def hook(*_: object) -> None:
            open_marks.append(record_function(MODULE + path))
            open_marks[-1].__enter__()

        return hook

    def end(*_: object) -> None:
        open_marks.pop().__exit__(None, None, None)

    for path, module in network.named_modules():
        handles += [module.register_forward_pre_hook(begin(path)), module.register_forward_hook(end)]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def spans(recording: profile) -> list[Span]:
    """The events of the thread that makes the calls, without those of other threads."""
    results: Any = recording.kineto_results
    found = [one for one in results.events() if one.duration_ns() >= 0]
    threads = {one.start_thread_id() for one in found if one.name().startswith((CALL, MODULE))}
    return [
        Span(one.name(), one.start_ns(), one.start_ns() + one.duration_ns(), one.is_user_annotation())
        for one in found
        if one.start_thread_id() in threads
    ]


def tree(flat: Iterable[Span]) -> list[Span]:
    """The outermost events in their order, with the others inside of them."""
    outermost: list[Span] = []
    around: list[Span] = []
    for one in sorted(flat, key=lambda span: (span.start, -span.end)):
        while around and one.start >= around[-1].end:
            around.pop()
        (around[-1].inner if around else outermost).append(one)
        around.append(one)
    return outermost


def operators(span: Span) -> Iterator[Event]:
    """The operators of an event: itself; of an annotation what is inside; of a container its own time, and those."""
    if span.annotation:
        for one in span.inner:
            yield from operators(one)
    elif span.name.startswith(CONTAINERS) or span.name == SCRIPT:
        named = {"##": "compiled graph", SCRIPT: "TorchScript graph"}
        name = named.get(span.name.partition(" ")[0], span.name.partition(":")[0])
        yield Event(name, name, span.own * NANOSECOND)
        for one in span.inner:
            yield from operators(one)
    else:
        every = list(span.all())
        longest = max(every, key=lambda one: one.own)
        seconds = (span.end - span.start) * NANOSECOND
        yield Event(span.name, span.name, seconds, len(every), longest.name)


def with_modules(outermost: Iterable[Span], path: str = "") -> Iterator[tuple[str, str]]:
    """The name of each operator, and the path of the module that calls it."""
    for span in outermost:
        if span.annotation:
            inner = span.name.removeprefix(MODULE) if span.name.startswith(MODULE) else path
            yield from with_modules(span.inner, inner)
        else:
            yield from ((one.name, path) for one in operators(span))
