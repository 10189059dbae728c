"""What all measurements of the bench have in common: which case, what the machine did, and whether it is valid."""

from typing import Any, Literal

from study.records.base import AtLeastOne, NotNegative, Positive, Record, Seed, Sha256

Settings = dict[str, Any]  # what an engine reports of itself: any JSON


class CaseKey(Record):
    """Which model, in which engine, with which settings."""

    model: str
    """Name in the catalogue; of a file given with `--onnx` its name without the suffix."""
    variant: str
    """Variant of the export, such as "int8-static"; "standard" for the standard one and for `--onnx`."""
    seed: Seed | None
    """Seed of the run; null for `--onnx`."""
    onnx_sha256: Sha256
    runtime: str
    batch: AtLeastOne
    """Images a call."""
    threads: AtLeastOne
    mode: Literal["native", "numpy"]
    """native: the engine's own types in and out, on the device; numpy: from numpy arrays to numpy arrays, transfers
    to a GPU and back included."""
    device: Literal["cpu", "cuda"]


class Machine(Record):
    """What else the machine did during a measurement; null where the system does not report it."""

    other_cores: NotNegative | None
    """Processor time of everything else on the whole machine / wall time."""
    other_share: NotNegative | None
    """Processor time of everything else on the cores that this process may run on and on their SMT siblings / wall
    time / number of these physical cores."""
    cache_neighbours_share: NotNegative | None
    """Busy share of the remaining cores that share the last cache with those; null if there are none."""
    steal_share: NotNegative | None
    """Share of the time which the process's cores were to compute, but in which the host ran other virtual machines."""
    throttled_share: NotNegative | None
    """Time for which the quota of a control group stopped processes / wall time."""
    involuntary_switches_per_second: NotNegative | None
    """How often the kernel took the core away."""
    load_before: NotNegative | None
    """One-minute load average before."""
    load_after: NotNegative | None
    """One-minute load average after."""
    clock_disagreement: NotNegative | None
    """Largest disagreement of another clock with the one that times."""


class Measurement(Record):
    """What every measurement has."""

    key: CaseKey
    """Which case: of a comparison the runtime's, of a cold start in mode native."""
    quick: bool
    """Made with `--quick`."""
    valid: bool
    reasons: tuple[str, ...]
    """Why it is not, and what to do."""


class Calibration(Record):
    """The speed of the machine: the time of two fixed pieces of work, one bound by arithmetic, one by memory."""

    arithmetic_seconds: Positive
    memory_seconds: Positive


class WorkerProcess(Record, kw_only=True):
    """What a measurement has for each of the fresh processes that made it."""

    process: AtLeastOne
    """Number of the process in the session."""
    calibration: Calibration
    """Mean of before and after."""
    machine: Machine
    cores_used: NotNegative
    """Processor time of this process and of its children that have ended / wall time."""
    waited_seconds: NotNegative = 0.0
    """Time in which it waited for the machine's full speed, with what was timed again; absent in older files."""
    valid: bool
    reasons: tuple[str, ...]
    """Why it is not, and what to do."""
