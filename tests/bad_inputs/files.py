"""Rows with a damaged file in the place of one that an earlier command wrote."""

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from tests.bad_inputs.damage import ANY, JSON, Damage
from tests.bad_inputs.rows import Row

RUN = "artifacts/models/baseline/seed0"
ANALYSIS = "analysis --models baseline --artifacts {dir}/artifacts"
BENCH = "{dir}/artifacts/bench.json"
KINDS: Mapping[str, tuple[str, str, Mapping[str, tuple[Damage, str]]]] = {
    "run.json": (ANALYSIS, f"{RUN}/run.json", JSON),
    "export.json": (ANALYSIS, f"{RUN}/export.json", JSON),
    "history.csv": (ANALYSIS, f"{RUN}/history.csv", ANY),
    "predictions.csv": (ANALYSIS, f"{RUN}/predictions.csv", ANY),
    "model.onnx": (ANALYSIS, f"{RUN}/model.onnx", ANY),
    "bench.json": (ANALYSIS, "artifacts/bench.json", JSON),
    "portability.json": ("analysis portability --artifacts {dir}/artifacts", "artifacts/portability.json", JSON),
    "search.json": (
        "analysis results --artifacts {dir}/artifacts --output {dir}/results.md",
        "artifacts/search/gap/search.json",
        JSON,
    ),
    "module.json": (
        "analysis --models plain --artifacts {dir}/artifacts",
        "artifacts/modules/plain/module.json",
        JSON,
    ),
    "ab/a.json": (ANALYSIS, "artifacts/ab/a.json", JSON),
    "compact.json": ("analysis zeros plain --artifacts {dir}/artifacts", "artifacts/zeros/plain/compact.json", JSON),
    "compare's bench.json": (f"bench compare {BENCH} {{dir}}/new.json", "new.json", JSON),
}


def rows() -> Iterator[Row]:
    for kind, (words, name, faults) in KINDS.items():
        for fault, (change, answer) in faults.items():
            yield Row(f"{kind}: {fault}", words, answer, at(name, change))


def at(name: str, change: Damage) -> Callable[[Path], object]:
    """The damage of the file of this name in the folder."""
    return lambda folder: change(folder / name)
