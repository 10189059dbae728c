"""Export one run: its checkpoint as an ONNX file, proven against PyTorch, with its record and its model card."""

import math
from typing import Any

from torch import Tensor

from export.card import LEVELS, write_card
from export.conversion import convert
from export.parity import images_for, run_onnx, run_torch
from study import checkpoints
from study.artifacts import RunFiles, as_json, read_json, sha256, write_bytes, write_json
from study.catalogue import Entry
from study.environment import environment, versions
from study.parity import compare
from study.variants import STANDARD


def export(
    entry: Entry, files: RunFiles, images: Tensor, labels: Tensor, calibration: Tensor | None = None
) -> dict[str, Any]:
    """Convert one run to `files.variant` and prove it on test images; the file is written only if the proof holds.

    A large network is proven on the first images alone (export/parity.py). A quantised one cannot compute the same: it
    is written with the differences that were measured, and computes all images.

    Args:
        images: uint8 [N, C, H, W].
        labels: int64 [N].
        calibration: training images, uint8 [N, C, H, W], for static quantisation.

    Returns:
        The content of export.json, or only its `parity` where the proof does not hold.

    Raises:
        StudyError: the checkpoint does not hold the network's weights, or it cannot be converted.
    """
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
        return {"parity": as_json(parity)}
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
        "parity": as_json(parity),
        "test_error_onnxruntime": float((found.argmax(1) != labels.numpy()).mean()) if every else None,
        "environment": environment(),
        **({"variant": variant.record()} if variant != STANDARD else {}),
    }
    write_json(files.export, record)
    write_card(files)
    return record


def metadata(files: RunFiles, channels: int) -> dict[str, str]:
    """The `metadata_props` of the ONNX file; nothing that differs between two exports of one checkpoint."""
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
