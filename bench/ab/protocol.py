"""What the parent of `bench ab` and the process of a side say to each other: one JSON object a line.

A request names what to `do`; a reply has what was asked for, or an `error`. The first line, a `Greeting`, comes
unasked. A side may be another version of this project: an unknown key is ignored, and an absent one has its default.
"""

from typing import Any, TypeVar

from msgspec import UNSET, Struct, UnsetType

from study.records.bench import Settings

PROTOCOL = "turns/1"


class Request(Struct, frozen=True, tag_field="do"):
    """What the process of a side can be asked."""


class Load(Request, tag="load", frozen=True, kw_only=True):
    """Load a model, or load it again at another place in memory. The reply is empty."""

    runtime: str
    threads: int
    device: str
    mode: str
    options: dict[str, str]
    onnx: str
    model: str
    network: str | None
    run: str | None
    """Folder of a run of the catalogue's model."""
    trained: bool
    """Whether torch can run it."""
    shapes: dict[str, tuple[int, ...]]
    module: str | None = None
    """Folder of an exported module."""
    sha256: str = ""
    sizes: dict[str, int] = {}
    inputs: str = ""
    """An .npz file."""
    seed: int = 0
    """Of the place in memory."""
    batch: int | None = None


class Part(Request, tag="part", frozen=True):
    """Call the engine `lead_in` + `calls` times. The reply is `Timed`."""

    lead_in: int
    calls: int
    each: bool = False
    """Whether the reply has the time of each call."""


class Calibrate(Request, tag="calibrate", frozen=True):
    """The reply is `Calibrated`."""


class Compute(Request, tag="outputs", frozen=True):
    """Compute the pool once, as far as the seconds allow, into an .npz file. The reply is `Computed`."""

    file: str
    seconds: float


class Report(Request, tag="settings", frozen=True):
    """The reply is `Reported`: what the engine says of itself."""


class Reply(Struct, frozen=True):
    """Any reply."""

    error: str | UnsetType = UNSET
    """A mistake in one line; then nothing else is there."""


class Greeting(Reply, frozen=True, kw_only=True):
    """The environment of a side."""

    protocol: str = ""
    python: str = ""
    packages: dict[str, str] = {}
    commit: str | None = None


class Timed(Reply, frozen=True, kw_only=True):
    """The timed calls of a part, but for one preemption.

    The turn itself wakes the parent and threads of the kernel on this core, and a program that competes for it takes it
    several times in a part.
    """

    seconds: float
    """Median of the timed calls."""
    wall: float
    cpu: float
    """Processor time."""
    switches: int
    """Involuntary context switches."""
    idle_wall: float
    """Time of the wait before all calls."""
    idle_cpu: float
    durations: list[float] = []
    """Of all calls, if each was asked for."""


class Calibrated(Reply, frozen=True, kw_only=True):
    """How fast the machine is now, as a `Calibration` has it."""

    arithmetic_seconds: float
    memory_seconds: float


class Computed(Reply, frozen=True, kw_only=True):
    structure: Any
    """As `bench.arrays.save_outputs` returns it."""


class Reported(Reply, frozen=True, kw_only=True):
    settings: Settings


Requests = Load | Part | Calibrate | Compute | Report
R = TypeVar("R")
