"""Measure what docs/scale.md lists, each part in a process of its own, and print the rows of its table.

    python -m tests.scale.table DIR                    all: 4 GB of disk and about 20 minutes
    python -m tests.scale.table DIR --only images,onnx --gigabytes 1

DIR is written, reused by the next call, and left for you to delete; the large ONNX files are sparse. Peak memory and
processor time are those of the process with all its children, as the kernel counts them.
"""

import argparse
import os
import shlex
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from study.environment import describe, environment

PYTHON = sys.executable
STUDIES = ((6, 3, 336), (60, 3, 10_000), (60, 30, 100_000))
"""Models, runs of each, and benchmark cases."""
CASES = (336, 10_000, 100_000)
"""In a file with one run of each of 12 models: `bench compare` takes a case once."""
IMAGES = (60_000, 600_000, 6_000_000)
SILENT: Any = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
PARTS = ("studies", "files", "images", "onnx")
SETS = """
import sys
import torch
from study.catalogue import entry
from train.augmentation import Augmentation
augmentation = Augmentation(torch.ones(int(sys.argv[1]), 1, 28, 28, dtype=torch.uint8), entry("baseline").recipe, 0)
for epoch in range(2):
    images, order = augmentation.epoch(epoch)
"""
"""The images of a training process: as loaded, padded, and as two epochs have them."""
LARGE = """
import sys
from pathlib import Path
from onnx import TensorProto, helper, save
path, columns = Path(sys.argv[1]), int(sys.argv[2])
weight = TensorProto(name="weight", data_type=TensorProto.FLOAT, dims=[columns, columns])
weight.data_location = TensorProto.EXTERNAL
for key, value in (("location", path.name + ".data"), ("offset", "0"), ("length", str(4 * columns**2))):
    weight.external_data.add(key=key, value=value)
x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, columns]) for name in "xy")
node = helper.make_node("Gemm", ["x", "weight"], ["y"], "layer", transB=1)
save(helper.make_model(helper.make_graph([node], "large", [x], [y], [weight])), path)
with open(str(path) + ".data", "wb") as file:
    file.truncate(4 * columns**2)
"""
"""A layer whose weights are a sparse file of zeros beside the model."""


def measured(what: str, words: Sequence[str]) -> str:
    """Run a command; the row of the table."""
    started = time.perf_counter()
    process = subprocess.Popen([PYTHON, *words], **SILENT)
    _, status, used = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - started
    process.returncode = os.waitstatus_to_exitcode(status)
    ended = "" if process.returncode == 0 else f" (exit code {process.returncode})"
    peak = used.ru_maxrss / 1024
    return f"| {what}{ended} | {seconds:.1f} | {used.ru_utime + used.ru_stime:.1f} | {peak:,.0f} |"


def generated(root: Path, models: int, seeds: int, cases: int) -> Path:
    """The study in this folder, made if it is not there."""
    words = ["--models", str(models), "--seeds", str(seeds), "--cases", str(cases)]
    if not (root / "bench.json").is_file():
        subprocess.run([PYTHON, "-m", "tests.scale", root, *words], check=True, **SILENT)
    return root


def of_studies(folder: Path) -> Iterator[str]:
    for models, seeds, cases in STUDIES:
        root = generated(folder / f"runs-{models * seeds}", models, seeds, cases)
        names = ",".join(path.name for path in sorted((root / "models").iterdir()))
        report = ["-m", "analysis", "--artifacts", str(root), "--models", names]
        size = f"{models * seeds:,} runs, {cases:,} cases"
        yield measured(f"`analysis`, {size}", [*report, "--fresh"])
        yield measured(f"`analysis` again, {size}", report)


def of_files(folder: Path) -> Iterator[str]:
    for cases in CASES:
        root = generated(folder / f"cases-{cases}", 12, 1, cases)
        bench, output = str(root / "bench.json"), str(root / "history")
        yield measured(f"`bench compare`, two files of {cases:,} cases", ["-m", "bench", "compare", bench, bench])
        yield measured(f"`bench history`, {cases:,} cases", ["-m", "bench", "history", bench, "--output", output])


def of_images(_: Path) -> Iterator[str]:
    for count in IMAGES:
        yield measured(f"{count:,} images, augmented for two epochs", ["-c", SETS, str(count)])


def of_onnx(folder: Path, gigabytes: Sequence[int]) -> Iterator[str]:
    for size in gigabytes:
        path = folder / f"{size}.onnx"
        subprocess.run([PYTHON, "-c", LARGE, path, str(int((size * 1e9 / 4) ** 0.5))], check=True)
        yield measured(f"`analysis sparsity`, {size} GB", ["-m", "analysis", "sparsity", str(path)])


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.scale.table", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("folder", metavar="DIR", type=Path)
    parser.add_argument("--only", metavar="A,B", default=",".join(PARTS), help=f"of {', '.join(PARTS)}")
    parser.add_argument("--gigabytes", metavar="N,N", default="1,10,20", help="of the ONNX files (default: 1,10,20)")
    options = parser.parse_args()
    folder = options.folder.absolute()
    folder.mkdir(parents=True, exist_ok=True)
    print(f"`python -m tests.scale.table {shlex.join(sys.argv[1:])}`, n = 1 each, {describe(environment())}\n")
    print("| what | wall time, s | processor time, s | peak memory, MiB |\n|---|---:|---:|---:|")
    parts = {"studies": of_studies(folder), "files": of_files(folder), "images": of_images(folder)}
    parts["onnx"] = of_onnx(folder, [int(size) for size in options.gigabytes.split(",")])
    for name in options.only.split(","):
        for row in parts[name]:
            print(row, flush=True)


if __name__ == "__main__":
    main()
