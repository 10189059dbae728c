"""Export trained models to ONNX and prove them against PyTorch: `python -m export [MODEL ...]`.

python -m export check FILE.onnx ...    is any ONNX file in the form that every runtime loads?
python -m export conformance            do the exported files compute the same in every runtime?
"""

import argparse
import math
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from export import check
from export.card import LEVELS, card
from study.artifacts import (
    DEFAULT_ROOT,
    Artifacts,
    RunFiles,
    current_export,
    read_json,
    sha256,
    write_bytes,
    write_json,
    write_text,
)
from study.catalogue import Entry
from study.data import datasets
from study.errors import StudyError, exit_with, tell
from study.selection import add_options, selected
from study.variants import OPSET, STANDARD, Variant

if TYPE_CHECKING:
    from torch import Tensor


def arguments(words: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m export",
        description=(__doc__ or "").partition("\n\n")[0],
        epilog="`python -m export check FILE.onnx ...` tells whether any ONNX file is portable, `python -m export "
        "conformance` what the runtimes make of those exported; --help has more.",
    )
    parser.add_argument("models", nargs="*", metavar="MODEL", help="names from the catalogue; without any, the study")
    add_options(parser.add_argument)
    parser.add_argument("--data", type=Path, metavar="DIR", help="folder with the data sets' files (or STUDY_DATA)")
    parser.add_argument(
        "--artifacts", type=Path, default=DEFAULT_ROOT, metavar="DIR", help="where results lie (default: %(default)s)"
    )
    form = parser.add_argument_group("another form", "instead of model.onnx, a file beside it that is named after it")
    form.add_argument("--opset", type=int, default=OPSET, metavar="N", help="14 to 26 (default: %(default)s)")
    form.add_argument(
        "--input", choices=("float32", "uint8"), default="float32", help="images in 0..1 (default), or raw in 0..255"
    )
    form.add_argument("--simplify", action="store_true", help="by onnxslim, which must be installed")
    form.add_argument("--int8", choices=("static", "dynamic"), help="quantised: smaller, and no exact copy")
    return parser.parse_args(words)


def main(words: Sequence[str] | None = None) -> int:
    """Export what is not exported, or stale; `words` are the command line's unless given."""
    words = sys.argv[1:] if words is None else words
    if hasattr(sys.stdout, "reconfigure"):
        sys.stdout.reconfigure(errors="backslashreplace")  # a path need not be ASCII where standard output is
    if words[:1] == ["check"]:
        return check.main(words[1:])
    if words[:1] == ["conformance"]:
        from export.conformance import command

        return command.main(words[1:])
    options = arguments(words)
    variant = Variant(options.opset, options.input, options.simplify, options.int8)
    if variant.opset != OPSET:
        from export.portable import opsets

        opsets.check(variant.opset)
    artifacts = Artifacts(options.artifacts)
    entries = selected(options, options.models)
    runs = [(entry, files.of(variant)) for entry in entries for files in artifacts.runs(entry.name)]
    for entry in entries:
        if not artifacts.runs(entry.name):
            print(f"{entry.name}: no finished run; run `python -m train {entry.name}`", file=sys.stderr)
    if not runs:
        raise StudyError(f"no finished run in {artifacts.root}; run `python -m train` first")

    stale = []
    refused = False
    for entry, files in runs:
        if not is_current(files):
            stale.append((entry, files))
            continue
        try:
            said = f"wrote {files.card}" if write_card(files) else f"{files.onnx} is current: nothing to do"
        except StudyError as error:  # a run.json that no card can be made of: the others can be exported all the same
            tell(error)
            refused = True
            continue
        print(f"{entry.name} seed {files.seed}: {said}")
    if not stale:
        return 2 if refused else 0

    from study.data import tensors as images

    names = dict.fromkeys(entry.dataset for entry, _ in stale)
    data = datasets.prepare(names, artifacts.data, options.data)
    tests = {name: images.load(data, train=False, dataset=name) for name in names}
    calibration = {name: calibration_images(data, name) for name in names} if variant.int8 == "static" else {}
    failed = 0
    for entry, files in stale:
        started = time.perf_counter()
        try:
            record = export(entry, files, *tests[entry.dataset], calibration.get(entry.dataset))
        except StudyError as error:  # the others can be exported all the same
            tell(error)
            refused = True
            continue
        failed += "onnx_sha256" not in record
        print(f"{told(entry, files, record)} ({time.perf_counter() - started:.1f} s)", flush=True)
    return 2 if refused else 1 if failed else 0


def told(entry: Entry, files: RunFiles, record: dict[str, Any]) -> str:
    """What to say of an export with this record, which has `parity` alone where the proof does not hold."""
    parity = record["parity"]
    found = (
        f"{entry.name} seed {files.seed}: {parity['images']} images, largest difference "
        f"{parity['max_abs_difference']:.1e}, {parity['argmax_mismatches']} differing classes, "
    )
    if "onnx_sha256" not in record:
        why = "not finite" if files.variant.int8 else f"above {entry.largest_difference:g} or a differing class"
        return f"{found}FAILED: {why}, no file is left"
    if files.variant.int8:
        found += f"test error {100 * record['test_error_onnxruntime']:.2f} %, "
    newer = f", IR version {record['ir_version']} as it needs: ONNX Runtime 1.15 to 1.17 refuse what is above 9"
    return f"{found}wrote {files.onnx}{newer if record['ir_version'] > 9 else ''}"


def is_current(files: RunFiles) -> bool:
    """Whether the ONNX file there is the one that was made from the checkpoint there is now."""
    try:
        made_from = current_export(files)["checkpoint_sha256"]
    except StudyError:
        return False
    return files.checkpoint.is_file() and sha256(files.checkpoint) == made_from


def write_card(files: RunFiles) -> bool:
    """Write the model card of a current export, unless it is there as it should be; whether it was written."""
    run = read_json(files.record, "run/1", f"run `python -m train {files.model}`")
    text = card(run, current_export(files))
    if files.card.is_file() and files.card.read_bytes() == text.encode():
        return False
    write_text(files.card, text)
    return True


def export(
    entry: Entry, files: RunFiles, images: "Tensor", labels: "Tensor", calibration: "Tensor | None" = None
) -> dict[str, Any]:
    """Convert one run and prove it on `images` (uint8 [N, C, H, W]); the ONNX file is written only if the proof holds.

    What it becomes is `files.variant`. A large network is proven on the first images alone (export/parity.py). A
    quantised one cannot compute the same: it is written, with what it differs, and computes all images.

    Args:
        calibration: training images, for what is quantised with static ranges.

    Returns:
        The content of export.json, or only its `parity` where that does not hold.
    """
    from export.conversion import convert
    from export.parity import images_for, run_onnx, run_torch
    from study import checkpoints
    from study.environment import environment
    from study.parity import compare

    variant = files.variant
    network = checkpoints.load(entry, files)
    for file in (files.onnx, files.export, files.card):
        file.unlink(missing_ok=True)
    model = convert(network, tuple(images.shape[1:]), metadata(files, images.shape[1]), variant, calibration)
    content = model.SerializeToString(deterministic=True)
    in_torch, in_onnxruntime = images_for(network, images)
    if variant.int8:
        in_onnxruntime = len(images)
    expected = run_torch(network, images[:in_torch])
    found = run_onnx(content, images if in_onnxruntime == len(images) else images[:in_torch])
    parity = compare(expected, found[: len(expected)])
    if not (math.isfinite(parity.max_abs_difference) if variant.int8 else parity.holds(entry.largest_difference)):
        return {"parity": asdict(parity)}
    write_bytes(files.onnx, content)
    every = len(found) == len(images)
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
        "test_error_onnxruntime": float((found.argmax(1) != labels.numpy()).mean()) if every else None,
        "environment": environment(),
        **({"variant": variant.record()} if variant != STANDARD else {}),
    }
    write_json(files.export, record)
    write_card(files)
    return record


def calibration_images(data: Path, dataset: str) -> "Tensor":
    """The training images that ranges of activations are found on, uint8 [N, C, H, W]."""
    from export.quantisation import CALIBRATION_IMAGES
    from study.data import tensors as images

    return images.load(data, train=True, dataset=dataset)[0][:CALIBRATION_IMAGES]


def metadata(files: RunFiles, channels: int) -> dict[str, str]:
    """What the ONNX file says of itself; nothing that differs between two exports of one checkpoint."""
    from study.environment import versions

    record = read_json(files.record, "run/1", f"run `python -m train {files.model}`")
    dataset = record["dataset"]
    scale = "0..255" if files.variant.input == "uint8" else "0..1"
    return {
        "model": files.model,
        "seed": str(files.seed),
        "dataset": dataset["name"],
        "classes": ", ".join(dataset["classes"]),
        "input": f"{files.variant.input}, {LEVELS[channels]} {scale}; the normalisation is in the graph",
        "output": "probabilities in the order of `classes`",
        "parameters": str(record["parameters"]),
        "train_error": repr(record["train_error"]),
        "test_error": repr(record["test_error"]),
        "checkpoint_sha256": record["checkpoint_sha256"],
        "versions": ", ".join(f"{name} {version}" for name, version in versions().items()),
    }


if __name__ == "__main__":
    exit_with(main)
