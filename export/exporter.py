"""Export one run: its checkpoint as an ONNX file, proven against PyTorch, with its record and its model card."""

import math

from torch import Tensor

from export.card import LEVELS, write_card
from export.conversion import convert
from export.parity import images_for, run_onnx, run_torch
from study import checkpoints
from study.artifacts import RunFiles, read_record, sha256, write_bytes, write_record
from study.entry import Entry
from study.environment import environment, versions
from study.parity import compare
from study.records.base import Parity
from study.records.export import ExportRecord
from study.records.training import RunRecord


class ParityError(Exception):
    """An ONNX file computes something else than its checkpoint."""

    def __init__(self, reason: str, parity: Parity) -> None:
        super().__init__(reason)
        self.parity = parity


def export(
    entry: Entry, files: RunFiles, images: Tensor, labels: Tensor, calibration: Tensor | None = None
) -> ExportRecord:
    """Convert one run to `files.variant` and prove it on test images; the file is written only if the proof holds.

    A large network is proven on the first images alone (export/parity.py). A quantised one cannot compute the same: it
    is written with the differences that were measured, and computes all images.

    Args:
        images: uint8 [N, C, H, W].
        labels: int64 [N].
        calibration: training images, uint8 [N, C, H, W], for static quantisation.

    Returns:
        The content of export.json.

    Raises:
        ParityError: the proof does not hold.
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
    computed = run_onnx(content, images if in_onnxruntime == len(images) else images[:in_torch])
    parity = compare(expected, computed[: len(expected)])
    if variant.int8 and not math.isfinite(parity.max_abs_difference):
        raise ParityError("not finite", parity)
    if not variant.int8 and not parity.holds(entry.largest_difference):
        raise ParityError(f"above {entry.largest_difference:g} or a differing prediction", parity)
    write_bytes(files.onnx, content)
    every = len(computed) == len(images)
    record = ExportRecord(
        model=files.model,
        seed=files.seed,
        onnx_sha256=sha256(files.onnx),
        checkpoint_sha256=sha256(files.checkpoint),
        opset=model.opset_import[0].version,
        ir_version=model.ir_version,
        bytes=len(content),
        parity=parity,
        test_error_onnxruntime=float((computed.argmax(1) != labels.numpy()).mean()) if every else None,
        environment=environment(),
        variant=variant,
    )
    write_record(files.export, record)
    write_card(files)
    return record


def metadata(files: RunFiles, channels: int) -> dict[str, str]:
    """The `metadata_props` of the ONNX file; nothing that differs between two exports of one checkpoint."""
    run = read_record(files.record, RunRecord, f"run `python -m train {files.model}`")
    scale = "0..255" if files.variant.input == "uint8" else "0..1"
    return {
        "model": files.model,
        "seed": str(files.seed),
        "dataset": run.dataset.name,
        "classes": ", ".join(run.dataset.classes),
        "input": f"{files.variant.input}, {LEVELS[channels]} {scale}; the normalisation is in the graph",
        "output": "probabilities in the order of `classes`",
        "parameters": str(run.parameters),
        "train_error": repr(run.train_error),
        "test_error": repr(run.test_error),
        "checkpoint_sha256": run.checkpoint_sha256,
        "versions": ", ".join(f"{name} {version}" for name, version in versions().items()),
    }
