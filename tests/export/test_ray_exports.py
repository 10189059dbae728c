"""Exports on Ray without Ray: what one run costs the others. With it: tests/ray."""

import errno
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Self

import pytest
import torch

from export import ray_exports
from export.outcome import DONE, REFUSED, Outcome
from export.ray_exports import Run, export_on_ray
from study import catalogue
from study.artifacts import Artifacts
from study.files import read_plain
from study.remote.cluster import Place


class Tasks:
    """In place of those of a cluster: each ends at once, well."""

    def __init__(self, target: object, inputs: Callable[[Run], object], keep: object) -> None:
        self.inputs, self.running = inputs, dict[str, Run]()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        pass

    def start(self, run: Run) -> None:
        self.inputs(run)
        self.running[run[0].name] = run

    def wait(self) -> Iterator[tuple[Any, Outcome]]:
        assert self.running
        for name in list(self.running):
            yield SimpleNamespace(task=self.running.pop(name)), Outcome(DONE, f"wrote {name}")


def test_a_network_that_cannot_be_built_or_a_file_that_cannot_be_read_does_not_stop_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    entries = [catalogue.entry(name) for name in ("baseline", "gap", "cnn5")]
    entries[0] = replace(entries[0], network="study.networks:nothing")
    runs = [(entry, Artifacts(tmp_path).run(entry.name, 0)) for entry in entries]
    for _, files in runs:
        files.folder.mkdir(parents=True)
        files.checkpoint.touch()

    def read(path: Path, most: int | None) -> bytes:
        if path == runs[1][1].checkpoint:
            raise OSError(errno.EIO, "Input/output error", str(path))
        return read_plain(path, most)

    monkeypatch.setattr(ray_exports, "read_plain", read)
    monkeypatch.setattr(ray_exports, "Tasks", Tasks)
    ray = SimpleNamespace(put=lambda images: images)
    monkeypatch.setattr(ray_exports, "cluster", SimpleNamespace(join=lambda *_: ray, capacity=lambda: 2))
    images = torch.zeros(2, 1, 28, 28, dtype=torch.uint8), torch.zeros(2, dtype=torch.int64)
    assert export_on_ray(runs, {entries[0].dataset: images}, {}, Place()) == [REFUSED, REFUSED, DONE]
    printed = capsys.readouterr()
    assert printed.out == "wrote cnn5\n"
    unbuilt, unread = printed.err.splitlines()
    assert unbuilt.startswith("error: baseline seed 0: ")
    assert unread == f"error: gap seed 0: {runs[1][1].checkpoint}: Input/output error"
