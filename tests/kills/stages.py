"""The stages that are killed, on a tiny study of two linear networks, and what their results are."""

import csv
import json
import sqlite3
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from study.bench_file import read_bench
from tests.bench.test_plan import write

CATALOGUE = """
from torch import nn

from study.catalogue import Entry
from study.recipe import Recipe


class Linear(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.fc1, self.fc2 = nn.Linear(784, 32), nn.Linear(32, 10)

    def forward(self, images):
        return self.fc2(self.fc1(images.flatten(1)).relu())


ENTRIES = tuple(Entry(f"kills-{n}", "kills_models:Linear", Recipe(epochs=n, batch_size=1000)) for n in (3, 4))
"""
MODELS = ("kills-3", "kills-4")
TIMES = ("seconds", "images_per_second", "environment", "sha256", "history_sha256")
"""Keys of JSON files that two undisturbed runs do not share."""


@dataclass(frozen=True)
class Stage:
    """A command, what it needs, and what it gives."""

    words: Callable[[Path, Path], list[str]]
    """The command line, from the folder of artifacts and the catalogue."""
    needs: tuple[str, ...]
    """The stages before it."""
    result: Callable[[Path], dict[str, Any]]
    """What is compared with an undisturbed run, by name."""
    finished: Callable[[Path], dict[str, Any]]
    """What is finished in a folder, by name; it must be the same after the command was run again."""


def files(artifacts: Path, *patterns: str) -> dict[str, Any]:
    """The files among the artifacts, also hidden ones, without what no two runs share."""
    found = sorted({path for pattern in patterns for path in artifacts.glob(pattern) if path.is_file()})
    return {str(path.relative_to(artifacts)): content(path) for path in found}


def content(path: Path) -> Any:
    if path.suffix == ".json":
        values = json.loads(path.read_bytes())
        return {key: value for key, value in values.items() if key not in TIMES}
    if path.name == "history.csv" and path.parent.name.startswith("seed"):
        return [row[:-1] for row in csv.reader(path.open())]  # without the seconds
    return path.read_bytes()


def times(artifacts: Path, record: str, *others: str) -> dict[str, Any]:
    """When the files of finished parts were written: those beside each file called `record`."""
    return {
        str(path.parent / name): (path.parent / name).stat().st_mtime_ns
        for path in artifacts.glob(record)
        for name in (path.name, *others)
    }


def search_result(artifacts: Path) -> dict[str, Any]:
    """The finished trials, without their numbers, the best one, and the winner's run."""
    record = json.loads((artifacts / "search/kills-3/search.json").read_bytes())
    trials = [(one["values"], one["validation_errors"], one["state"]) for one in record["trials"]]
    done = sorted(json.dumps(trial, sort_keys=True) for trial in trials if trial[2] != "failed")
    return {**files(artifacts, "models/*/*/*", "search/*/.*"), "trials": done, "best": record["best"]["recipe"]}


def finished_trials(artifacts: Path) -> dict[str, Any]:
    database = artifacts / "search/kills-3/optuna.db"
    if not database.is_file():
        return {}
    try:
        with closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True)) as connection:
            query = "SELECT number, datetime_complete FROM trials WHERE state IN ('COMPLETE', 'PRUNED')"
            return {f"trial {number}": when for number, when in connection.execute(query)}
    except sqlite3.Error:  # it was killed before there were tables, or while it wrote
        return {}


def bench_result(artifacts: Path) -> dict[str, Any]:
    """What was measured, each once, and the files that are left."""
    record = read_bench(artifacts / "bench.json", "")
    measured = sorted(str(case.key) for case in record.cases), [str(one.key) for one in record.cold_starts]
    return {"measured": measured, "files": sorted(path.name for path in artifacts.glob("*"))}


def journal(artifacts: Path) -> dict[str, Any]:
    """Nothing that is kept, since a session measures everything again; but what was measured can be read."""
    path = artifacts / "bench.json.journal"
    if path.is_file() and path.read_bytes().count(b"\n"):
        read_bench(path, "")
    return {}


def bench_words(artifacts: Path, catalogue: Path) -> list[str]:
    model = catalogue.with_name("free.onnx")
    if not model.is_file():
        write(model, "N")
    words = ["pytest", "bench", "-p", "no:cacheprovider", "--onnx", str(model), "--shape", "ids=5", "--quick"]
    words += ["--batches", "1,2,4", "--cold-starts", "2", "--runtimes", "onnxruntime", "--seconds", "0.3"]
    return [*words, f"--benchmark-json={artifacts / 'bench.json'}"]


def words(*command: str, models: bool = True) -> Callable[[Path, Path], list[str]]:
    def line(artifacts: Path, catalogue: Path) -> list[str]:
        named = MODELS if models else ()
        return [*command, *named, f"--catalogue={catalogue}", f"--artifacts={artifacts}"]

    return line


STAGES = {
    "train": Stage(
        words("train", "--seeds=0", "--workers=2"),
        (),
        lambda artifacts: files(artifacts, "models/*/*/*"),
        lambda artifacts: times(artifacts, "models/*/*/run.json", "checkpoint.pt"),
    ),
    "search": Stage(
        words("train", "search", "kills-3", "--trials=4", "--epochs=2", "--seeds=0", "--workers=1", models=False),
        (),
        search_result,
        lambda artifacts: finished_trials(artifacts) | times(artifacts, "models/*/*/run.json", "checkpoint.pt"),
    ),
    "export": Stage(
        words("export"),
        ("train",),
        lambda artifacts: files(artifacts, "models/*/*/*"),
        lambda artifacts: times(artifacts, "models/*/*/export.json", "model.onnx"),
    ),
    "pack": Stage(
        words("export", "pack"),
        ("train", "export"),
        lambda artifacts: files(artifacts, "pack/*", "pack/*/*", "pack/*/*/*"),
        lambda artifacts: times(artifacts, "pack/test_*/pack.json", "model.onnx"),
    ),
    "bench": Stage(bench_words, (), bench_result, journal),
    "analysis": Stage(
        words("analysis", f"--models={','.join(MODELS)}", models=False),
        ("train", "export"),
        lambda artifacts: files(artifacts, "models/*/*/*", "report/*"),
        lambda artifacts: times(artifacts, "models/*/*/pruning.json"),
    ),
}
