"""One cell of the matrix: a runtime, a model, a batch, in a fresh process, and the verdict on what it computed."""

import os
import tempfile
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from export.conformance.environments import Prepared
from export.conformance.processes import CommandError, run
from export.conformance.runtimes import Runtime
from study.errors import one_line
from study.parity import compare

BATCHES = (1, 7, 64)
"""Images a call; where another number remains for the last call, one loaded model sees two sizes."""
SECONDS = 600.0
"""After which a program is taken to hang."""
LARGEST_ROW_SUM_ERROR = 1e-5
MOST_BYTES = 1 << 26
"""Of a result that is read."""
DROPPED = ("PYTHON", "NODE_", "LD_PRELOAD")
"""Beginnings of the variables that a program does not see: they are this process's own."""


@dataclass(frozen=True)
class Subject:
    """A file, the images that it is tried with, and what they should become."""

    model: str
    seed: int
    onnx: Path
    onnx_sha256: str
    images: Path
    """float32 [N, C, H, W] in 0..1, as .npy."""
    expected: Mapping[int, NDArray[np.float32]]
    """[N, classes] for each batch size: quantised with ranges of the batch, a file has others in others."""
    largest_difference: float
    """That its entry in the catalogue allows, or 8-bit integers do."""
    mismatches: float = 0.0
    """The share of images that may be of another class."""


def cell(
    runtime: Runtime,
    prepared: Prepared,
    subject: Subject,
    batch: int,
    seconds: float = SECONDS,
    stop: threading.Event | None = None,
) -> dict[str, Any]:
    """Run the program of `runtime` and judge its result; the cell as portability.json has it."""
    allowed = max(runtime.largest_difference, subject.largest_difference)
    record = {
        "runtime": runtime.name,
        "model": subject.model,
        "seed": subject.seed,
        "onnx_sha256": subject.onnx_sha256,
        "batch": batch,
        "verdict": "not run",
        **dict.fromkeys(("shape", "finite", "row_sum_error", "max_abs_difference", "argmax_mismatches")),
        "allowed": allowed,
        "seconds": None,
        "reason": prepared.reason,
    }
    if prepared.reason is not None:
        return {**record, "verdict": "failed" if prepared.broken else "not run"}
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as name:
        folder = Path(name)
        result = folder / "probabilities.npy"
        words = (*prepared.command, subject.onnx, subject.images, str(batch), result)
        started = time.perf_counter()
        try:
            run(words, folder, seconds, stop, _variables(folder))
            record["seconds"] = round(time.perf_counter() - started, 3)
            found = _read(result)
        except CommandError as error:
            interrupted = stop is not None and stop.is_set()
            return {**record, "verdict": "not run" if interrupted else "failed", "reason": str(error)}
    return {**record, **judge(subject.expected[batch], found, allowed, subject.mismatches)}


def _variables(home: Path) -> Mapping[str, str]:
    """The environment of a program: its home is a folder of its own, where some runtimes leave an identity."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(DROPPED)}
    return {**kept, "HOME": str(home), "XDG_CONFIG_HOME": str(home), "XDG_CACHE_HOME": str(home)}


def _read(path: Path) -> NDArray[Any]:
    try:
        small = path.stat().st_size <= MOST_BYTES
        found = np.load(path, allow_pickle=False) if small else None
    except OSError as error:
        raise CommandError(f"it left no result ({error.strerror})") from None
    except Exception as error:  # of a header or an archive that is spoilt NumPy throws many kinds
        raise CommandError(f"its result cannot be read: {one_line(error)}") from None
    if not small:
        raise CommandError(f"its result has more than {MOST_BYTES} bytes")
    if not isinstance(found, np.ndarray) or found.dtype != np.float32:
        raise CommandError(f"its result is {getattr(found, 'dtype', 'an archive')}, expected float32")
    return found


def judge(
    expected: NDArray[np.float32], found: NDArray[Any], allowed: float, mismatches: float = 0.0
) -> dict[str, Any]:
    """The verdict on probabilities `found`, and all that was measured of them; the first fault is the reason."""
    record: dict[str, Any] = {"verdict": "failed", "shape": list(found.shape)}
    if found.shape != expected.shape:
        return {**record, "reason": f"its result has shape {list(found.shape)}, expected {list(expected.shape)}"}
    record["finite"] = bool(np.isfinite(found).all())
    if not record["finite"]:
        return {**record, "reason": f"{int((~np.isfinite(found)).sum())} of its numbers are not finite"}
    parity = compare(expected, found)
    sums = float(np.abs(1 - found.sum(1, dtype=np.float64)).max())
    record |= {
        "row_sum_error": sums,
        "max_abs_difference": parity.max_abs_difference,
        "argmax_mismatches": parity.argmax_mismatches,
    }
    if not parity.holds(float("inf"), mismatches):
        return {**record, "reason": f"another class for {parity.argmax_mismatches} of {parity.images} images"}
    if sums > LARGEST_ROW_SUM_ERROR:
        return {**record, "reason": f"its probabilities sum to 1 with an error of {sums:.1e}"}
    if not parity.holds(allowed, mismatches):
        return {**record, "reason": f"differs by {parity.max_abs_difference:.1e}, allowed is {allowed:g}"}
    return {**record, "verdict": "passed", "reason": None}
