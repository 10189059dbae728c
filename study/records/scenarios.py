"""What the load scenarios write: many queries at once (offline), and queries that arrive at random (server)."""

from typing import Annotated

from msgspec import Meta

from study.records.base import AtLeastOne, Count, Interval, NotNegative, Positive
from study.records.measurement import Measurement, Settings, WorkerProcess


class OfflineProcess(WorkerProcess):
    """The streams of one fresh process, each itself a process with an engine of its own."""

    window_seconds: Positive
    """Time in which calls were counted; all streams called without a pause from before it until after it."""
    calls_per_stream: Annotated[tuple[NotNegative, ...], Meta(min_length=1)]
    """Calls of each stream in the window; one that began before it or ended after it counts by its share inside."""
    items_per_second: Positive
    """All calls * `batch` / window."""
    overhead_seconds: NotNegative
    """Time that the harness takes for each call, from an engine that does nothing."""


class Loaded(Measurement):
    """What both scenarios have."""

    streams: AtLeastOne
    """Processes that call at the same time, each with its own engine on `threads` threads."""
    oversubscribed: bool
    """Whether streams * threads exceeds the physical cores."""
    threads_read_back: AtLeastOne
    settings: Settings
    """What the engine reports of itself after the calls."""


class OfflineRecord(Loaded):
    """Throughput with all the work at hand: `--scenario offline`."""

    items_per_second: Interval
    """Geometric mean over the processes, with Student's 95 % interval."""
    processes: Annotated[tuple[OfflineProcess, ...], Meta(min_length=1)]


class ServerProcess(WorkerProcess):
    """Queries that arrive at random, in one fresh process; a query is one call."""

    rate: Positive
    """Mean arrivals a second: the rate asked for, or the highest whose p99 stayed under the bound."""
    queries: AtLeastOne
    random_seed: Count
    """Seed of the arrivals, another one in each process."""
    p50_seconds: Positive
    """Median latency, from the scheduled arrival to the end of the call; interpolated, as are the next two."""
    p90_seconds: Positive
    p99_seconds: Positive
    mean_wait_seconds: NotNegative
    """From the scheduled arrival to the beginning of the call."""
    load: Positive
    """Share of their time in which the streams served: rate * mean duration of a call / streams."""
    overhead_seconds: NotNegative
    """Time that the harness takes for each query, from an engine that does nothing."""
    trials: Count
    """Runs of the search, the last one included; 0 for a rate that was asked for."""
    above_rate: Positive | None
    """The lowest rate that the search found too high; null for a rate that was asked for, as is the next."""
    above_p99_seconds: Positive | None
    """99th percentile there."""


class ServerRecord(Loaded):
    """Latency under load: `--scenario server`."""

    bound_seconds: Positive | None
    """Bound of the 99th percentile; null for a rate that was asked for."""
    rate: Interval
    """Queries a second: the rate asked for, or the highest whose p99 stays under the bound, the geometric mean over
    the processes, with Student's 95 % interval."""
    p50_seconds: Interval | None
    """Median latency at `rate`, over the processes; null where their queries are too few, as are the next two."""
    p90_seconds: Interval | None
    p99_seconds: Interval | None
    load: Interval
    """Share of their time in which the streams served, over the processes."""
    processes: Annotated[tuple[ServerProcess, ...], Meta(min_length=1)]
