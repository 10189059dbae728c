"""Per-operator profiles in bench.json, written by `pytest bench --profile`."""

from typing import Annotated

from msgspec import Meta

from study.records.base import AtLeastOne, Count, NotNegative, Positive, Record
from study.records.measurement import Measurement


class OperatorRecord(Record):
    """One operator of a call, in the order in which the engine runs them."""

    name: str
    """As the profiler names it: of an ONNX file the node, after the engine's optimisation; of torch the operator."""
    kind: str
    """Type of the operator, such as Conv, FusedGemm or aten::conv2d."""
    kernel: str | None
    """What computes it, where the profiler names it: of torch the longest of the inner operators."""
    module: str | None
    """Path of the torch module that it belongs to, such as layer1.0.conv1, "" for the network itself; null: not
    attributed. A fused operator counts where its weights are."""
    seconds: NotNegative
    """Of one call, without the cost of the profiler; the mean of the calls around the median."""


class ProfileRecord(Measurement):
    """Where the time of a call goes, operator by operator, measured in a process of its own."""

    unprofiled_seconds: Positive
    """Median of a call without the profiler, in the same process."""
    profiled_seconds: Positive
    """Median of a call with it."""
    calls: AtLeastOne
    """Profiled calls; the operators are of the fifth of them around the median."""
    events: Count
    """Events of the profiler in a call."""
    event_seconds: NotNegative
    """What an event costs, from small graphs of known length."""
    call_seconds: NotNegative
    """What the profiler costs a call beside its events, likewise."""
    resolution_seconds: NotNegative
    """Unit that the profiler rounds each time down to; 0 where that does not matter."""
    outside_seconds: NotNegative
    """Time of a call outside of its operators: the engine's work for a call, Python, and waiting."""
    accounted: Positive
    """(Operators + time outside of them) / median without the profiler: 1 if the profiler's cost is known exactly."""
    operators: Annotated[tuple[OperatorRecord, ...], Meta(min_length=1)]
