"""Export trained models to ONNX and prove them against PyTorch: `python -m export [MODEL ...]`."""

import argparse
import sys
import time
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from study import datasets
from study.artifacts import (
    DEFAULT_ROOT,
    Artifacts,
    RunFiles,
    current_export,
    read_json,
    sha256,
    write_bytes,
    write_json,
)
from study.catalogue import Entry
from study.errors import StudyError, exit_with
from study.selection import add_options, selected

if TYPE_CHECKING:
    from torch import Tensor


LEVELS = {1: "grey level", 3: "red, green and blue, each"}
"""What an image's channels are, by how many there are."""


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m export", description=__doc__)
    parser.add_argument("models", nargs="*", metavar="MODEL", help="names from the catalogue; without any, the study")
    add_options(parser.add_argument)
    parser.add_argument("--data", type=Path, metavar="DIR", help="folder with the data sets' files (or STUDY_DATA)")
    parser.add_argument(
        "--artifacts", type=Path, default=DEFAULT_ROOT, metavar="DIR", help="where results lie (default: %(default)s)"
    )
    return parser.parse_args()


def main() -> int:
    options = arguments()
    artifacts = Artifacts(options.artifacts)
    entries = selected(options, options.models)
    runs = [(entry, files) for entry in entries for files in artifacts.runs(entry.name)]
    for entry in entries:
        if not artifacts.runs(entry.name):
            print(f"{entry.name}: no finished run; run `python -m train {entry.name}`", file=sys.stderr)
    if not runs:
        raise StudyError(f"no finished run in {artifacts.root}; run `python -m train` first")

    stale = []
    for entry, files in runs:
        if is_current(files):
            print(f"{entry.name} seed {files.seed}: {files.onnx} is current: nothing to do")
        else:
            stale.append((entry, files))
    if not stale:
        return 0

    from study import images

    names = dict.fromkeys(entry.dataset for entry, _ in stale)
    data = datasets.prepare(names, artifacts.data, options.data)
    tests = {name: images.load(data, train=False, dataset=name) for name in names}
    failed = 0
    refused = False
    for entry, files in stale:
        started = time.perf_counter()
        try:
            record = export(entry, files, *tests[entry.dataset])
        except StudyError as error:  # the others can be exported all the same
            print(f"error: {error}", file=sys.stderr)
            refused = True
            continue
        parity = record["parity"]
        holds = "onnx_sha256" in record
        failed += not holds
        print(
            f"{entry.name} seed {files.seed}: {parity['images']} images, largest difference "
            f"{parity['max_abs_difference']:.1e}, {parity['argmax_mismatches']} differing classes, "
            f"{time.perf_counter() - started:.1f} s, "
            + (
                f"wrote {files.onnx}"
                if holds
                else f"FAILED: above {entry.largest_difference:g} or a differing class, no file is left"
            ),
            flush=True,
        )
    return 2 if refused else 1 if failed else 0


def is_current(files: RunFiles) -> bool:
    """Whether the ONNX file there is the one that was made from the checkpoint there is now."""
    try:
        made_from = current_export(files)["checkpoint_sha256"]
    except StudyError:
        return False
    return files.checkpoint.is_file() and sha256(files.checkpoint) == made_from


def export(entry: Entry, files: RunFiles, images: "Tensor", labels: "Tensor") -> dict[str, Any]:
    """Convert one run and prove it on `images` (uint8 [N, C, H, W]); the ONNX file is written only if the proof holds.

    Returns:
        The content of export.json, or only its `parity` where that does not hold.
    """
    from export.conversion import convert
    from export.parity import run_onnx, run_torch
    from study import checkpoints
    from study.environment import environment
    from study.parity import compare

    network = checkpoints.load(entry, files)
    files.onnx.unlink(missing_ok=True)
    files.export.unlink(missing_ok=True)
    model = convert(network, tuple(images.shape[1:]), metadata(files, images.shape[1]))
    content = model.SerializeToString(deterministic=True)
    found = run_onnx(content, images)
    parity = compare(run_torch(network, images), found)
    if not parity.holds(entry.largest_difference):
        return {"parity": asdict(parity)}
    write_bytes(files.onnx, content)
    record = {
        "schema": "export/1",
        "model": files.model,
        "seed": files.seed,
        "onnx_sha256": sha256(files.onnx),
        "checkpoint_sha256": sha256(files.checkpoint),
        "opset": model.opset_import[0].version,
        "ir_version": model.ir_version,
        "bytes": len(content),
        "parity": asdict(parity),
        "test_error_onnxruntime": float((found.argmax(1) != labels.numpy()).mean()),
        "environment": environment(),
    }
    write_json(files.export, record)
    return record


def metadata(files: RunFiles, channels: int) -> dict[str, str]:
    """What the ONNX file says of itself; nothing that differs between two exports of one checkpoint."""
    from study.environment import versions

    record = read_json(files.record, "run/1", f"run `python -m train {files.model}`")
    dataset = record["dataset"]
    return {
        "model": files.model,
        "seed": str(files.seed),
        "dataset": dataset["name"],
        "classes": ", ".join(dataset["classes"]),
        "input": f"float32, {LEVELS[channels]} 0..1; the normalisation is in the graph",
        "output": "probabilities in the order of `classes`",
        "parameters": str(record["parameters"]),
        "train_error": repr(record["train_error"]),
        "test_error": repr(record["test_error"]),
        "checkpoint_sha256": record["checkpoint_sha256"],
        "versions": ", ".join(f"{name} {version}" for name, version in versions().items()),
    }


if __name__ == "__main__":
    exit_with(main)
