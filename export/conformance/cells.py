"""One cell of the matrix: the program of a runtime on one file at one batch size, in a fresh process.

A file is that of an image classifier here, and any other in any_file.py.
"""

import os
import tempfile
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from msgspec.structs import replace
from numpy.typing import NDArray

from export.conformance.environments import Prepared
from export.conformance.processes import CommandError, run
from export.conformance.runtimes import Runtime
from study.errors import one_line
from study.parity import compare
from study.records.export import CellRecord
from study.variants import STANDARD_NAME

BATCHES = (1, 7, 64)
"""Images a call. The last call takes what remains, so that one loaded model sees two sizes."""
SECONDS = 600.0
"""Time limit of a program."""
LARGEST_ROW_SUM_ERROR = 1e-5
MAX_RESULT_BYTES = 1 << 26
DROPPED = ("PYTHON", "NODE_", "LD_PRELOAD")
"""Prefixes of the variables of this process that a program does not inherit."""


@dataclass(frozen=True, kw_only=True)
class ModelFile(ABC):
    """An ONNX file that the runtimes run, and what they should compute."""

    model: str
    variant: str = STANDARD_NAME
    seed: int = 0
    onnx: Path
    onnx_sha256: str
    batches: Sequence[int] = BATCHES
    largest_difference: float
    """Largest difference that its entry in the catalogue, quantisation or its arithmetic allows."""

    @abstractmethod
    def words(self, batch: int, folder: Path) -> Sequence[str | Path]:
        """The arguments of the program, which leaves its result in `folder`."""

    @abstractmethod
    def with_verdict(self, cell: CellRecord, folder: Path) -> CellRecord:
        """`cell` with the verdict on that result.

        Raises:
            CommandError: it cannot be read.
        """


@dataclass(frozen=True, kw_only=True)
class Subject(ModelFile):
    """An exported file, the images it is run on, and the probabilities it should compute."""

    images: Path
    """float32 [N, C, H, W] in 0..1, as .npy."""
    expected: Mapping[int, NDArray[np.float32]]
    """[N, classes] by batch size: with dynamic quantisation the result depends on the batch."""
    mismatches: float = 0.0
    """Share of the images that may get another class."""

    def words(self, batch: int, folder: Path) -> Sequence[str | Path]:
        return (self.onnx, self.images, str(batch), folder / "probabilities.npy")

    def with_verdict(self, cell: CellRecord, folder: Path) -> CellRecord:
        result = read_result(folder / "probabilities.npy")
        return compared(cell, self.expected[cell.batch], result, self.mismatches)


def run_cell(
    runtime: Runtime,
    prepared: Prepared,
    file: ModelFile,
    batch: int,
    seconds: float = SECONDS,
    stop: threading.Event | None = None,
) -> CellRecord:
    """Run the program of `runtime` on `file` and compare its result with the expected one."""
    cell = CellRecord(
        runtime=runtime.name,
        model=file.model,
        variant=file.variant,
        seed=file.seed,
        onnx_sha256=file.onnx_sha256,
        batch=batch,
        verdict="failed" if prepared.broken else "not run",
        shape=None,
        finite=None,
        row_sum_error=None,
        max_abs_difference=None,
        argmax_mismatches=None,
        allowed=max(runtime.largest_difference, file.largest_difference),
        seconds=None,
        reason=prepared.reason,
    )
    if prepared.reason is not None:
        return cell
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as name:
        folder = Path(name)
        words = (*prepared.command, *file.words(batch, folder))
        started = time.perf_counter()
        try:
            run(words, folder, seconds, stop, program_variables(folder))
            cell = replace(cell, seconds=round(time.perf_counter() - started, 3))
            return file.with_verdict(cell, folder)
        except CommandError as error:
            interrupted = stop is not None and stop.is_set()
            return replace(cell, verdict="not run" if interrupted else "failed", reason=str(error))


def program_variables(home: Path) -> Mapping[str, str]:
    """The environment of a program. It gets a home folder of its own, because some runtimes store an identity there."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(DROPPED)}
    return {**kept, "HOME": str(home), "XDG_CONFIG_HOME": str(home), "XDG_CACHE_HOME": str(home)}


def read_result(path: Path) -> NDArray[np.float32]:
    """The array in the file that a program has written.

    Raises:
        CommandError: it is missing, too large, or not an array of float32.
    """
    result = read_array(path)
    if not isinstance(result, np.ndarray) or result.dtype != np.float32:
        raise CommandError(f"its result is {getattr(result, 'dtype', 'an archive')}, expected float32")
    return result


def read_array(path: Path, most: int = MAX_RESULT_BYTES) -> Any:
    """The content of a numpy file of at most `most` bytes that a program has written.

    Raises:
        CommandError: it is missing, too large or not of numpy.
    """
    try:
        small = path.stat().st_size <= most
        result = np.load(path, allow_pickle=False) if small else None
    except OSError as error:
        raise CommandError(f"it left no result ({error.strerror})") from None
    except Exception as error:  # NumPy raises many kinds for a damaged header or archive
        raise CommandError(f"its result cannot be read: {one_line(error)}") from None
    if not small:
        raise CommandError(f"its result has more than {most} bytes")
    return result


def compared(
    cell: CellRecord, expected: NDArray[np.float32], result: NDArray[Any], mismatches: float = 0.0
) -> CellRecord:
    """`cell` with the verdict on probabilities [N, classes] and all measurements; the first fault is the reason.

    Args:
        mismatches: share of the images that may get another class.
    """
    cell = replace(cell, verdict="failed", shape=result.shape)
    if result.shape != expected.shape:
        return replace(cell, reason=f"its result has shape {list(result.shape)}, expected {list(expected.shape)}")
    if not np.isfinite(result).all():
        return replace(cell, finite=False, reason=f"{int((~np.isfinite(result)).sum())} of its numbers are not finite")
    parity = compare(expected, result)
    error = float(np.abs(1 - result.sum(1, dtype=np.float64)).max())
    cell = replace(
        cell,
        finite=True,
        row_sum_error=error,
        max_abs_difference=parity.max_abs_difference,
        argmax_mismatches=parity.argmax_mismatches,
    )
    if not parity.holds(float("inf"), mismatches):
        return replace(cell, reason=f"another class for {parity.argmax_mismatches} of {parity.images} images")
    if error > LARGEST_ROW_SUM_ERROR:
        return replace(cell, reason=f"its probabilities sum to 1 with an error of {error:.1e}")
    if not parity.holds(cell.allowed, mismatches):
        return replace(cell, reason=f"differs by {parity.max_abs_difference:.1e}, allowed is {cell.allowed:g}")
    return replace(cell, verdict="passed", reason=None)
