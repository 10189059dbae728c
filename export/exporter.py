"""Export one run: its checkpoint as an ONNX file, proven against PyTorch, with its record and its model card."""

import numpy as np
import torch
from msgspec import structs
from numpy.typing import NDArray
from torch import Tensor

from export.card import LEVELS, write_card
from export.compact.files import EXACT
from export.compact.removal import noted, refuse_larger, refuse_nothing, refuse_useless, remove_dead_units
from export.compact.sparse import store_sparsely
from export.conversion import convert, finished
from export.parity import images_for, run_onnx, run_torch
from study import checkpoints, soundness
from study.artifacts import RunFiles
from study.entry import Entry
from study.environment import environment, versions
from study.errors import StudyError
from study.evaluation import batches
from study.files import sha256, write_bytes
from study.parity import INT8_COST, compare
from study.record_files import read_record, write_record
from study.records.base import Parity
from study.records.compact import RemovedUnits, SparseTensor
from study.records.export import ExportRecord
from study.records.training import RunRecord

CHECKED = 16
"""Images on which a network is evaluated several times before it is exported."""
ALONE = 4
"""Images of the proof that are also computed one a call."""


class ParityError(Exception):
    """An ONNX file computes something else than its checkpoint."""

    def __init__(self, reason: str, parity: Parity) -> None:
        super().__init__(reason)
        self.parity = parity


def export(
    entry: Entry, files: RunFiles, images: Tensor, labels: Tensor, calibration: Tensor | None = None
) -> ExportRecord:
    """Convert one run to `files.variant` and prove it on test images; the file is written only if the proof holds.

    Until then an older file stays, which its record says to be of another checkpoint.

    A large network is proven on the first images alone (export/parity.py). A quantised one cannot compute the same: the
    proof is of the file before quantisation, and what this costs is measured and limited.

    Args:
        images: uint8 [N, C, H, W].
        labels: int64 [N].
        calibration: training images, uint8 [N, C, H, W], for static quantisation.

    Returns:
        The content of export.json.

    Raises:
        ParityError: the proof does not hold.
        StudyError: the checkpoint does not hold the network's weights, or the network cannot be evaluated or converted.
    """
    variant = files.variant
    soundness.check(entry, checkpoints.load(entry, files), next(batches(images[:CHECKED])))
    network = checkpoints.load(entry, files).requires_grad_(False)  # again: the check may have changed a state
    in_torch, in_onnxruntime = images_for(network, images)
    try:
        expected = run_torch(network, images[:in_torch])  # first: the conversion may leave nothing that computes
    except Exception as error:  # a user's network may raise anything
        raise soundness.unusable(entry, "evaluation", error) from None
    name = type(network).__name__
    others = {str(p.dtype).removeprefix("torch.") for p in network.parameters() if p.dtype != torch.float32}
    every = in_onnxruntime == len(images) and not variant.int8
    try:
        floats = convert(network, tuple(images.shape[1:]), metadata(files, images.shape[1]), variant)
        model = finished(floats, name, structs.replace(variant, int8=None))
        content = model.SerializeToString(deterministic=True)
        computed = run_onnx(content, images if every else images[:in_torch])
    except StudyError as error:
        if not others or "NOT_IMPLEMENTED" not in str(error):
            raise
        raise StudyError(f"{error}; its weights are {' and '.join(sorted(others))}: convert it to float32") from None
    try:
        parity = prove(entry, content, images[:in_torch], expected, computed)
    except ParityError as error:
        network = checkpoints.load(entry, files)
        first, second = (run_torch(network, images[:in_torch]) for _ in range(2))
        if np.allclose(first, second, rtol=0, atol=entry.largest_difference, equal_nan=True):
            raise
        reason = "evaluated twice on these images in PyTorch, the network itself gives two results: it keeps a state"
        raise ParityError(f"{reason}, to be changed only where self.training", error.parity) from None
    same: Parity | None = None
    removed: tuple[RemovedUnits, ...] = ()
    stored: tuple[SparseTensor, ...] = ()
    nothing: list[str] = []
    if variant.remove_dead or variant.sparse:
        if variant.remove_dead:
            with noted(nothing):
                removed = remove_dead_units(floats)
                refuse_nothing(removed)
        model = finished(floats, name, structs.replace(variant, int8=None))
        if variant.sparse:
            with noted(nothing):
                stored = store_sparsely(model)
        refuse_useless(variant, nothing)
        dense, content = len(content), model.SerializeToString(deterministic=True)
        if not variant.int8:
            refuse_larger(dense, len(content))
        before, computed = computed, run_onnx(content, images if every else images[:in_torch])
        same = compare(before, computed)
        if not same.holds(EXACT):
            raise ParityError(f"above {EXACT:g} of the file before", same)
        parity = compare(expected, computed[: len(expected)])
    if variant.int8:
        every = True
        model = finished(floats, name, variant, calibration)
        content = model.SerializeToString(deterministic=True)
        computed = run_onnx(content, images)
        parity = compare(expected, computed[: len(expected)])
        if not parity.holds(1.0, INT8_COST):
            raise ParityError(f"quantised, more than {INT8_COST:.0%} of the images have another class", parity)
    write_bytes(files.onnx, content)
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
        same=same,
        removed=removed,
        sparse=stored,
    )
    write_record(files.export, record)
    write_card(files)
    return record


def prove(
    entry: Entry, content: bytes, images: Tensor, expected: NDArray[np.float32], computed: NDArray[np.float32]
) -> Parity:
    """Compare PyTorch's probabilities of `images` with those `computed` by the float file with these bytes.

    Raises:
        ParityError: they differ, in large batches or with one image a call, or are not finite.
    """
    parity = compare(expected, computed[: len(expected)])
    if not np.isfinite(expected).all():
        raise ParityError("PyTorch's own results are not finite, so the network needs another training", parity)
    if not parity.holds(entry.largest_difference):
        raise ParityError(f"above {entry.largest_difference:g} or a differing prediction", parity)
    alone = compare(expected[:ALONE], run_onnx(content, images[:ALONE], batch=1))
    if not alone.holds(entry.largest_difference):
        raise ParityError("with one image a call the file computes something else than with many", alone)
    return parity


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
