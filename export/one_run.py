"""Export one run, and say in words what has become of it."""

import time

from torch import Tensor

from export.compact.removal import NothingError, describe
from export.exporter import ParityError, export
from export.outcome import DONE, NOT_PROVEN, Outcome, refused, results
from study.artifacts import RunFiles
from study.entry import Entry
from study.records.export import ExportRecord


def export_run(entry: Entry, files: RunFiles, images: Tensor, labels: Tensor, calibration: Tensor | None) -> Outcome:
    """Export one run as `files.variant`, as `exporter.export` does; an error is an outcome, too."""
    started = time.perf_counter()
    run, changes = f"{files.model} seed {files.seed}", ""
    try:
        record = export(entry, files, images, labels, calibration)
        code, parity, outcome = DONE, record.parity, written(files, record)
        if record.removed:
            changes = f"{describe(record.removed)}; "
        if files.variant.sparse and not record.sparse:
            changes += "nothing to store sparsely: no weight has enough zeros; "
    except ParityError as error:
        code, parity, outcome = NOT_PROVEN, error.parity, f"FAILED: {error}; no file is written"
    except NothingError as error:
        for old in results(files):
            old.unlink(missing_ok=True)  # of another checkpoint: no command would make it current
        return Outcome(DONE, f"{run}: {error}; no file is written")
    except Exception as error:  # of any kind: one model must not cost the others
        return refused(files, error)
    line = (
        f"{run}: {changes}{parity.images} images, largest difference {parity.max_abs_difference:.1e}, "
        f"{parity.argmax_mismatches} differing predictions, {outcome} ({time.perf_counter() - started:.1f} s)"
    )
    return Outcome(code, line)


def written(files: RunFiles, record: ExportRecord) -> str:
    """The outcome of a successful export in words."""
    outcome = f"wrote {files.onnx}"
    if files.variant.int8 and record.test_error_onnxruntime is not None:
        outcome = f"test error {100 * record.test_error_onnxruntime:.2f} %, {outcome}"
    if record.ir_version > 9:
        outcome += f", IR version {record.ir_version}, which its opset needs and ONNX Runtime 1.15 to 1.17 refuse"
    return outcome
