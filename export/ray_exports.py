"""Exports as tasks of Ray: each worker gets a run's checkpoint and record, and sends the ONNX file, record and card."""

from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from export.outcome import DONE, REFUSED, Outcome, is_current, refused, results
from study import locks
from study.artifacts import RunFiles
from study.entry import Entry
from study.files import read_plain, write_bytes
from study.networks import build
from study.remote import cluster
from study.remote.cluster import Place
from study.remote.tasks import Lost, Message, Tasks, workplace

Run = tuple[Entry, RunFiles]
Arrays = tuple[NDArray[np.uint8], NDArray[np.int64], NDArray[np.uint8] | None]
"""Test images [N, C, H, W] and labels [N], and images to calibrate with."""


def export_on_ray(
    runs: Sequence[Run], tests: Mapping[str, tuple[Tensor, Tensor]], calibration: Mapping[str, Tensor], place: Place
) -> list[int]:
    """Export `runs` side by side; an exit code for each, in the order in which they end.

    Args:
        tests: the test images of each data set, uint8 [N, C, H, W], and their labels, int64 [N].
        calibration: of the data sets whose models are quantised statically, training images.

    Raises:
        StudyError: as `cluster.join`.
    """
    waiting, codes = deque[Run](), []

    def show(outcome: Outcome) -> None:
        outcome.show()
        codes.append(outcome.code)

    for entry, files in runs:
        try:
            build(entry)  # so that the modules that it imports are loaded, and travel
            waiting.append((entry, files))
        except Exception as error:  # of any kind: one model must not cost the others
            show(refused(files, error))
    if not waiting:
        return codes
    ray = cluster.join(place, "export", [entry for entry, _ in waiting], {})
    images = {
        name: ray.put((pixels.numpy(), labels.numpy(), calibration[name].numpy() if name in calibration else None))
        for name, (pixels, labels) in tests.items()
    }

    def inputs(run: Run) -> tuple[Any, ...]:
        entry, files = run
        given = {path.name: read_plain(path, None) for path in (files.record, files.checkpoint) if path.is_file()}
        old = {path.name: b"" for path in results(files) if path.is_file()}
        return {**given, **old}, images[entry.dataset]

    with Tasks(export_one, inputs, keep) as tasks:
        while waiting or tasks.running:
            while waiting and len(tasks.running) < cluster.capacity():
                run = waiting.popleft()
                try:
                    tasks.start(run)
                except OSError as error:  # its files cannot be read
                    show(refused(run[1], error))
            if tasks.running:
                for job, event in tasks.wait():
                    show(lost(job.task[1], event) if isinstance(event, Lost) else event)
    return codes


def lost(files: RunFiles, event: Lost) -> Outcome:
    """What is shown where a worker has died."""
    next_step = "another exports it" if event.again else "given up"
    return Outcome(
        DONE if event.again else REFUSED, error=f"{files.model} seed {files.seed}: {event.reason}; {next_step}"
    )


def keep(run: Run, message: Message) -> Outcome:
    """Write the files of an export; an empty one is as it was, and a missing one was removed."""
    outcome: Outcome = message.event
    _, files = run
    try:
        with locks.folder_held(files.folder):
            if is_current(files):  # another command has made it since it was found stale
                return Outcome(DONE, f"{files.model} seed {files.seed}: {files.onnx} is current: nothing to do")
            for path in results(files):
                if content := message.files.get(path.name):
                    write_bytes(path, content)
                elif content is None:
                    path.unlink(missing_ok=True)
    except OSError as error:
        return refused(files, error)
    return outcome


def export_one(run: Run, content: Mapping[str, bytes], arrays: Arrays) -> Iterator[Message]:
    """On a worker: export in a temporary folder with these files, an empty one for each file of an older export."""
    from export.one_run import export_run

    entry, files = run
    with workplace(files.folder, content) as here:
        temporary = RunFiles(here.folder, files.model, files.seed, files.variant)
        images, labels, calibration = (None if one is None else torch.tensor(one) for one in arrays)
        assert images is not None
        assert labels is not None
        outcome = export_run(entry, temporary, images, labels, calibration)
        names = [path.name for path in results(temporary)]
        event = outcome.elsewhere(str(here.folder), str(files.folder))
        yield Message(event, here.content(*names), last=True, notes=here.taken())
