"""What the bench writes: bench.json, and its journal while it measures."""

from typing import Annotated, Literal

from msgspec import Meta, field

from study.records.base import (
    AtLeastOne,
    Count,
    Interval,
    NotNegative,
    Parity,
    Positive,
    Record,
    Sha256,
)
from study.records.bench_environment import BenchEnvironment as BenchEnvironment
from study.records.bench_environment import Cache as Cache
from study.records.bench_environment import Processor as Processor
from study.records.bench_environment import TorchBuild as TorchBuild
from study.records.measurement import Calibration as Calibration
from study.records.measurement import CaseKey as CaseKey
from study.records.measurement import Machine as Machine
from study.records.measurement import Measurement as Measurement
from study.records.measurement import Settings as Settings
from study.records.measurement import WorkerProcess as WorkerProcess
from study.records.profile import ProfileRecord
from study.records.scenarios import OfflineRecord, ServerRecord

Verdict = Literal["faster", "slower", "the same", "undecided", "withheld"]
"""faster, slower: the interval excludes 1. the same: it includes 1 and lies within the margin. undecided: neither."""


class WarmUpRecord(Record):
    """The calls before the timed ones of a process, which are those of its first load."""

    calls: Count
    seconds: NotNegative
    stable: bool
    """Whether the latency settled."""


class CaseProcess(WorkerProcess):
    """A case in one process."""

    samples: AtLeastOne
    """Timed calls, one call a sample."""
    median_seconds: Positive
    p90_seconds: Positive
    """90th percentile of the calls of this process, interpolated however few they are, as are the next three."""
    p95_seconds: Positive
    p99_seconds: Positive
    p999_seconds: Positive
    load_medians_seconds: Annotated[tuple[Positive, ...], Meta(min_length=1)]
    """Median of each load of the model."""
    drift: float
    """Median of the last third of the samples / median of the first, less 1."""
    spread: NotNegative
    """Interquartile range / median."""
    warmup: WarmUpRecord


class CaseRecord(Measurement):
    """One benchmark case: `extra_info` of a benchmark."""

    onnx_bytes: Count
    """Size of the ONNX file, with the files that its weights lie in."""
    parameters: Count
    """Of a trained model its trainable numbers; of a module or a file those in the floating-point constants of the
    ONNX file."""
    macs: Count | None
    """Multiply-accumulates of one item; null if not certain."""
    subnormal_weights: Count
    """Weights that are not zero and below the smallest normal number."""
    inputs_sha256: Sha256
    """SHA-256 over names, types, shapes and bytes of the pool of inputs."""
    input_seed: Count | None
    """Seed of inputs that the user does not give; null: the first test images, raw for a variant that takes them so."""
    input_shapes: dict[str, tuple[Count, ...]]
    """Shape of each input in one call."""
    samples: AtLeastOne
    """Timed calls of all processes; all are in `stats.data`, process after process, load after load."""
    median_seconds: Interval
    """Geometric mean of the processes' medians, with Student's interval over the processes; of fewer than two
    processes, which make the case invalid, the interval is that between the extremes."""
    p90_seconds: Interval | None
    """90th percentile of the calls of all processes, with its 95 % interval over the processes; null where
    the samples are too few, as are the next three."""
    p95_seconds: Interval | None
    """95th percentile."""
    p99_seconds: Interval | None
    """99th percentile."""
    p999_seconds: Interval | None
    """99.9th percentile."""
    images_per_second_at_median: Positive
    """`batch` / median: one call after the other. It is no throughput, which `--scenario offline` measures."""
    parity: Parity | None
    """Of the timed callable, over the pool of inputs, or over those that a slow engine computes in the time; null if
    no other runtime runs the model, and of ONNX Runtime for a variant that torch does not compute (int8, or raw
    images): the others are compared with it."""
    threads_read_back: AtLeastOne
    """Threads that the engine reports after the calls."""
    settings: Settings
    """What the engine reports of itself after the calls."""
    processes: Annotated[tuple[CaseProcess, ...], Meta(min_length=1)]
    """The case in each fresh process."""


class Controls(Record):
    """Each engine timed against itself: a ratio that would be 1 on a perfect machine."""

    reference: Interval
    runtime: Interval


class ControlsOnce(Record):
    """The controls of one process."""

    reference: Positive
    runtime: Positive


class AfterSwitch(Record):
    """How much slower the first calls of an engine are after the other engine has run: the effect of the call index."""

    lead_in_calls: Count
    """Calls of each part before the timed ones."""
    effects: tuple[float, ...]
    """Time of call 1, 2, ... after the switch / time of the timed calls, less 1; medians over the blocks."""


class PairSettings(Record):
    """What the two engines report of themselves."""

    reference: Settings
    runtime: Settings


class ComparisonProcess(WorkerProcess):
    """A comparison in one process."""

    ratio: Positive
    """Over the blocks at full speed."""
    controls: ControlsOnce
    rounds: AtLeastOne
    blocks: AtLeastOne
    """Blocks in all rounds."""
    full_speed_blocks: Count
    """Those in which the machine ran at its full speed; only they count for the ratio."""
    calls: AtLeastOne
    """Timed calls in all blocks."""
    random_seed: Count
    """Seed of the order and the places in memory, another one in each process."""
    reference_seconds: Positive | None = None
    """Time of a call of the reference in these turns: of both loads the geometric mean, of a round the median over its
    blocks, of the process the geometric mean over the rounds; absent in older files."""
    runtime_seconds: Positive | None = None
    """The same of the runtime."""


class Candidate(Record):
    """A runtime that the pilot considered for best against best."""

    runtime: str
    pilot_seconds: Positive
    """Median time of a call in the pilot, whose samples are not used again: geometric mean over its processes."""


class BestOf(Record):
    """The candidates that a pair was chosen from: the fastest runtime of each of two families, such as PyTorch's."""

    reference: Annotated[tuple[Candidate, ...], Meta(min_length=1)]
    """Of the reference's family, the fastest first, which is the reference."""
    runtime: Annotated[tuple[Candidate, ...], Meta(min_length=1)]
    """Of the runtime's family, likewise."""


class ComparisonRecord(Measurement, omit_defaults=True):
    """Two engines that take turns."""

    reference: str
    """The engine it is compared with: torch where it takes part, else the first runtime; of best against best the
    fastest of its family."""
    ratio: Interval
    """Time of the reference / time of the runtime: above 1 the runtime is faster. Geometric mean over the processes,
    with Student's 95 % interval."""
    unpaired_ratio: Interval | None
    """Ratio of the medians of the two cases, which were measured apart; null where one is missing."""
    controls: Controls
    """Over the processes. They check the measurement, and do not enter the verdict."""
    after_switch_reference: AfterSwitch
    after_switch_runtime: AfterSwitch
    settings: PairSettings
    processes: Annotated[tuple[ComparisonProcess, ...], Meta(min_length=1)]
    """The comparison in each fresh process."""
    margin: NotNegative
    """Largest difference that counts as none in the verdict "the same", from `--margin`; 0.02 is 2 %."""
    verdict: Verdict
    """On the runtime; withheld if not valid."""
    best_of: BestOf | None = None
    """What the pilot chose the two from, if they are best against best; absent otherwise."""


Amount = Count | NotNegative  # bytes stay whole


class Range(Record):
    """A quantity over several processes."""

    median: Amount
    lowest: Amount
    highest: Amount
    values: tuple[Amount, ...] = ()
    """That of each process, in their order."""


class ColdStartRecord(Measurement):
    """The first inference in fresh processes: time, and growth of the peak resident memory."""

    machine: Machine
    processes: AtLeastOne
    """Fresh processes, each of which did it once."""
    import_seconds: Range
    """Import of the engine; numpy and this project's modules are loaded before, the files are in the system's cache."""
    load_seconds: Range
    first_call_seconds: Range
    total_seconds: Range
    import_bytes: Range
    load_bytes: Range
    """Growth in the load."""
    run_bytes: Range
    """Growth in 21 calls; of a slow model in those of two seconds."""
    peak_bytes: Range
    """Growth altogether."""


class MatrixProduct(Record):
    """The fastest float32 product of two square matrices that the machine made, on the CPU."""

    threads: AtLeastOne
    flops_per_second: Positive
    """2 * `size`^3 / time of the fastest call."""
    size: AtLeastOne
    """Rows and columns."""
    library: str
    """numpy (its BLAS), torch or onnxruntime: the fastest of those that the session had loaded."""


class Pilot(Record):
    """A short measurement before the session, which decides on its effort and forecasts its precision."""

    processes: AtLeastOne
    """Fresh processes of the pilot; their samples are not used again."""
    seconds: NotNegative
    forecast_seconds: NotNegative
    """Expected time of the processes of the session."""
    forecast_half_widths: dict[str, NotNegative]
    """Expected half-width of the 95 % interval of each comparison's ratio, by name; 0.01 is 1 %."""


class BenchRecord(Record, tag_field="schema", tag="bench/5", omit_defaults=True):
    """One session: the block `study` of bench.json, with the cases of its benchmarks."""

    environment: BenchEnvironment
    harness_overhead_seconds: NotNegative | None
    """Median of a callable that does nothing, on the same path."""
    processes: AtLeastOne
    """Fresh processes that measured every case and comparison."""
    pilot: "Pilot | None"
    """What the session expected of itself; null with `--quick` and for the load scenarios."""
    comparisons: tuple[ComparisonRecord, ...]
    cold_starts: tuple[ColdStartRecord, ...]
    cases: tuple[CaseRecord, ...]
    """In bench.json each is the `extra_info` of its benchmark."""
    offline: tuple[OfflineRecord, ...] = ()
    """With `--scenario offline`, else absent."""
    server: tuple[ServerRecord, ...] = ()
    """With `--scenario server`, else absent."""
    profiles: tuple[ProfileRecord, ...] = ()
    """With `--profile`, else absent."""
    left_out: dict[str, str] = field(default_factory=dict)
    """Why measurements were left out, by name: they take too long. Absent if there are none."""
    failed: dict[str, str] = field(default_factory=dict)
    """Why measurements failed, by name. Absent if none did."""
    matrix_products: tuple[MatrixProduct, ...] = ()
    """The machine's peak, with each number of threads of the cases; absent with `--quick` and in older files."""


class JournalEntry(Record, tag_field="schema", tag="journal/4", omit_defaults=True):
    """One line of the journal: exactly one of these keys."""

    environment: BenchEnvironment | None = None
    """The first line: the environment at the beginning of the session."""
    case: CaseRecord | None = None
    """A case over the processes so far, after each of them: the last entry counts."""
    comparison: ComparisonRecord | None = None
    cold_start: ColdStartRecord | None = None
    offline: OfflineRecord | None = None
    """Throughput over the processes so far, as `case`."""
    server: ServerRecord | None = None
    """Latency under load over the processes so far, as `case`."""
    matrix_product: MatrixProduct | None = None
    """The peak over the processes so far: the last entry of a number of threads counts."""
    profile: ProfileRecord | None = None
    exit_status: int | None = None
    """The last line: the exit status of the session."""

    def __post_init__(self) -> None:
        values = [getattr(self, name) for name in self.__struct_fields__]
        if sum(value is not None for value in values) != 1:
            raise ValueError(f"Expected one of {', '.join(f'`{name}`' for name in self.__struct_fields__)}")
