"""One training run in this process."""

from collections.abc import Callable
from typing import cast

from study.artifacts import RunFiles
from study.entry import Entry
from study.records.training import Device, RunRecord
from train.fitting import Images, epochs
from train.tasks import Epoch, Resumed


def fit(
    entry: Entry, files: RunFiles, images: Images, report: Callable[[Epoch | Resumed], None], device: Device = "cpu"
) -> RunRecord:
    """Train one run as `epochs` does; `report` is called with each event."""
    events = epochs(entry, files, images, device)
    while True:
        try:
            report(next(events))
        except StopIteration as end:
            return cast(RunRecord, end.value)
