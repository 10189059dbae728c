"""What `python -m bench ab` writes: two sides, compared in pairs of processes that take turns."""

from typing import Annotated

from msgspec import Meta

from study.records.base import AtLeastOne, Count, Environment, Interval, NotNegative, Parity, Positive, Record
from study.records.bench import AfterSwitch, Calibration, CaseKey, Machine, Settings, Verdict


class SideRecord(Record):
    """One side: a model in an engine, in an environment of its own."""

    word: str
    """The side as on the command line."""
    options: dict[str, str]
    """Options of the engine, each read back after it was set."""
    python: str
    """Version of the interpreter that ran it."""
    packages: dict[str, str]
    """Versions of the packages in its environment that the study uses."""
    commit: str | None
    """Commit of the checkout whose code ran it; null outside git."""
    onnx_bytes: Count
    """Size of the ONNX file, with the files that its weights lie in."""


class Outputs(Record):
    """The outputs of both sides for the same inputs, compared before the timing."""

    parity: Parity | None
    """Null where the two have unlike outputs."""
    differences: tuple[str, ...]
    """How they differ by more than the tolerance of the coarser arithmetic. It is reported and withholds nothing."""


class InTurns(Record):
    """What one side did in one process."""

    median_seconds: Positive
    """Median of its parts, each the median of its calls."""
    control: Positive
    """The first part of a block over the second: 1 on a perfect machine."""
    after_switch: AfterSwitch
    part_calls: AtLeastOne
    """Timed calls in a part."""
    cores_used: NotNegative
    """Processor time / wall time of its parts."""
    idle_cores: NotNegative
    """Processor time that it used while it waited for the other side / wall time of the waiting."""
    switches_per_second: NotNegative
    """How often the kernel took the core away in its parts."""


class PairedProcess(Record, kw_only=True):
    """One pair of fresh processes."""

    process: AtLeastOne
    ratio: Positive
    """Time of B / time of A: of the median block."""
    a: InTurns
    b: InTurns
    loads: AtLeastOne
    """How often each side loaded its model, each time at another place in memory."""
    blocks: AtLeastOne
    full_speed_blocks: Count
    """Those in which the machine ran at its full speed; only they count for the ratio."""
    random_seed: Count
    """Seed of the order and of the places in memory."""
    calibration: Calibration
    """Medians, from before and after each block."""
    waited_seconds: NotNegative = 0.0
    """Time in which both waited for the machine's full speed, with what was timed again; absent in older files."""
    machine: Machine
    """From the start of both processes to their end."""
    valid: bool
    reasons: tuple[str, ...]
    """Why it is not, and what to do."""


class AbComparison(Record):
    """A and B at one batch size."""

    a: CaseKey
    b: CaseKey
    ratio: Interval
    """Time of B / time of A: below 1 B is faster. Geometric mean over the processes, with Student's 95 % interval."""
    median_seconds_a: Interval
    """Over the processes, in turns with B."""
    median_seconds_b: Interval
    control_a: Interval
    """A against itself, over the processes: it checks the measurement, and does not enter the verdict."""
    control_b: Interval
    settings_a: Settings
    """What the engine of A reports of itself after the calls."""
    settings_b: Settings
    outputs: Outputs
    processes: Annotated[tuple[PairedProcess, ...], Meta(min_length=1)]
    margin: NotNegative
    """Largest difference that counts as none in the verdict "the same", from `--margin`; 0.02 is 2 %."""
    verdict: Verdict
    """On B; withheld if not valid."""
    valid: bool
    reasons: tuple[str, ...]
    """Why it is not, and what to do."""


class AbRecord(Record, tag_field="schema", tag="ab/2"):
    """One comparison of two sides, at one or more batch sizes."""

    environment: Environment
    """Of the parent; the sides have their own interpreter and packages."""
    command: tuple[str, ...]
    """The words of the command line after `ab`."""
    a: SideRecord
    b: SideRecord
    mode: str
    comparisons: Annotated[tuple[AbComparison, ...], Meta(min_length=1)]
