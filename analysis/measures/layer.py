"""Weight statistics of one layer: near-zero, dead rows and columns, 2:4 groups, subnormals, non-finite values.

Shares below an absolute threshold mislead, because an optimiser may leave weights at any scale; they are given because
they are often asked for. Rows and columns are those of the matrix (out, in): a row is an output, a column an input.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import ml_dtypes
import numpy as np
from numpy.typing import NDArray

from analysis.measures.histogram import largest_magnitude
from analysis.measures.ranks import Floats
from analysis.weights.matrix import Matrix
from analysis.weights.quantisation import Scale

THRESHOLDS = (1e-8, 1e-6, 1e-4, 1e-3)
"""Largest magnitudes that count as near zero."""
OF_RMS = 0.01
"""Likewise, relative to the root mean square of the layer's weights."""
MOST_ROWS = 2**22
"""The most outputs or inputs of a layer with sums of their own."""


@dataclass(frozen=True)
class WeightStatistics:
    """Statistics of one layer; weights that are not finite are counted, and otherwise left out.

    `near_zero` are the shares of |w| <= threshold by threshold, `near_zero_rms` is that of |w| <= 1 % of the root mean
    square. Dead rows and columns have zeros only. `two_of_four` is the share of the groups of four weights along a row
    that have two zeros or more, as sparse tensor cores require of all (Mishra et al., arXiv 2104.08378); None if a row
    has fewer than four. `effective` is the number of equal weights that would have the same l1 / l2:
    (sum |w|)^2 / sum w^2, the participation ratio of |w|. `subnormal` weights are below the smallest normal number of
    the stored type. `row_hoyer` are the lower quartile, median and upper quartile of Hoyer over the rows that are not
    dead. A statistic without a meaning, one that would take too much memory, or one that depends on a scale which is
    missing, is None.
    """

    near_zero: dict[float, float | None]
    near_zero_rms: float | None
    dead_rows: int | None
    dead_columns: int | None
    two_of_four: float | None
    effective: float | None
    subnormal: int
    nan: int
    infinite: int
    row_hoyer: tuple[float, float, float] | None

    def named(self) -> dict[str, float | int | None]:
        """The statistics by their names in tables."""
        quartiles = self.row_hoyer or (None, None, None)
        return {
            **{f"near_zero({threshold:g})": share for threshold, share in self.near_zero.items()},
            f"near_zero({OF_RMS:g} rms)": self.near_zero_rms,
            "dead_rows": self.dead_rows,
            "dead_columns": self.dead_columns,
            "two_of_four": self.two_of_four,
            "effective_weights": self.effective,
            "subnormal": self.subnormal,
            "nan": self.nan,
            "infinite": self.infinite,
            **{f"row_hoyer_{name}": value for name, value in zip(("q1", "median", "q3"), quartiles, strict=True)},
        }


def weight_statistics(matrix: Matrix, blocks: Sequence[NDArray[Any]] | None = None) -> WeightStatistics:
    """Statistics of a weight (out, in), in three passes over its blocks: largest magnitude, sums, near-zero weights.

    `blocks` are those of the matrix if not given; a wrapper of them may show progress.

    Raises:
        StudyError: its file changed meanwhile.
    """
    blocks = matrix.blocks() if blocks is None else blocks
    # magnitudes are divided by it, so that squares neither overflow nor all vanish
    scale = largest_magnitude(blocks) or 1.0
    sums = _Sums(matrix, scale)
    for index, block in enumerate(blocks):
        sums.add(block, *matrix.blocks().place(index))
    counted = matrix.size - sums.nan - sums.infinite
    rms = scale * math.sqrt(sums.squares / counted) if counted else 0.0
    below = sum(int(np.count_nonzero(_finite(block) <= OF_RMS * rms)) for block in blocks) if rms else 0
    rows, columns = (sums.columns, sums.rows) if matrix.transposed else (sums.rows, sums.columns)
    outputs, inputs = matrix.shape
    relative, known = matrix.scale is not Scale.UNKNOWN, matrix.scale is Scale.KNOWN
    groups = 0 if matrix.transposed and outputs > MOST_ROWS else outputs * (inputs // 4)
    return WeightStatistics(
        near_zero={t: n / counted if counted and known else None for t, n in zip(THRESHOLDS, sums.small, strict=True)},
        near_zero_rms=(below - sums.nan - sums.infinite) / counted if rms and relative else None,
        dead_rows=rows.dead if matrix.size and outputs <= MOST_ROWS else None,
        dead_columns=columns.dead if matrix.size and inputs <= MOST_ROWS else None,
        two_of_four=sums.conforming / groups if groups else None,
        effective=sums.total**2 / sums.squares if sums.squares and relative else None,
        subnormal=sums.subnormal,
        nan=sums.nan,
        infinite=sums.infinite,
        row_hoyer=rows.quartiles(inputs) if outputs <= MOST_ROWS else None,
    )


@dataclass
class _Lines:
    """For each row, or each column: sums of magnitudes and of their squares, and whether any is not zero."""

    total: Floats
    squares: Floats
    alive: NDArray[np.bool_]

    @property
    def dead(self) -> int:
        return int(self.alive.size - np.count_nonzero(self.alive))

    def quartiles(self, length: int) -> tuple[float, float, float] | None:
        """Quartiles of Hoyer, (sqrt n - l1 / l2) / (sqrt n - 1), over lines of `length` weights that are not zero."""
        present = self.squares > 0
        if length < 2 or not present.any():
            return None
        root = math.sqrt(length)
        hoyer = (root - self.total[present] / np.sqrt(self.squares[present])) / (root - 1)
        low, middle, high = np.quantile(np.clip(hoyer, 0, 1), (0.25, 0.5, 0.75))
        return float(low), float(middle), float(high)


@dataclass
class _Sums:
    """Sums over the blocks of `matrix`; magnitudes are in units of `scale`, thresholds are not."""

    matrix: Matrix
    scale: float
    total: float = 0.0
    squares: float = 0.0
    small: list[int] = field(default_factory=lambda: [0] * len(THRESHOLDS))
    conforming: int = 0
    subnormal: int = 0
    nan: int = 0
    infinite: int = 0

    def __post_init__(self) -> None:
        self.rows, self.columns = (_lines(n) for n in (self.matrix.rows, self.matrix.columns))
        self.tiny = _smallest_normal(self.matrix)
        outputs, _ = self.matrix.shape
        self.pending = np.zeros(min(outputs, MOST_ROWS) if self.matrix.transposed else 0, np.uint8)

    def add(self, block: NDArray[np.floating], rows: slice, columns: slice) -> None:
        nan, infinite = (int(np.count_nonzero(each(block))) for each in (np.isnan, np.isinf))
        self.nan += nan
        self.infinite += infinite
        exact = _finite(block)
        magnitudes = exact.astype(np.float64) / self.scale
        squares = np.square(magnitudes)
        self.total += float(magnitudes.sum())
        self.squares += float(squares.sum())
        for i, threshold in enumerate(THRESHOLDS):
            self.small[i] += int(np.count_nonzero(exact <= np.float64(threshold))) - nan - infinite
        self.subnormal += int(np.count_nonzero((exact > 0) & (exact < self.tiny)))
        zeros = block == 0
        self.conforming += self.down(zeros, rows, columns) if self.matrix.transposed else _along(zeros)
        for lines, part, axis in ((self.rows, rows, 1), (self.columns, columns, 0)):
            if lines.alive.size:
                lines.total[part] += magnitudes.sum(axis)
                lines.squares[part] += squares.sum(axis)
                lines.alive[part] |= ~zeros.all(axis)

    def down(self, zeros: NDArray[np.bool_], rows: slice, columns: slice) -> int:
        """Groups of four along the stored columns, which may end in a later block; see `_along`."""
        if self.pending.size < self.matrix.columns:
            return 0
        whole = len(zeros) // 4 * 4 if rows.start % 4 == 0 else 0
        conforming = _along(zeros[:whole].T)
        for row in range(whole, len(zeros)):
            self.pending[columns] += zeros[row]
            if (rows.start + row) % 4 == 3:
                conforming += int(np.count_nonzero(self.pending[columns] >= 2))
                self.pending[columns] = 0
        return conforming


def _along(zeros: NDArray[np.bool_]) -> int:
    """Number of groups of four neighbours in a row with two zeros or more."""
    groups = zeros[:, : zeros.shape[1] // 4 * 4].reshape(len(zeros), -1, 4)
    return int(np.count_nonzero(groups.sum(2) >= 2))


def _lines(count: int) -> _Lines:
    size = count if count <= MOST_ROWS else 0
    return _Lines(np.zeros(size), np.zeros(size), np.zeros(size, np.bool_))


def _finite(block: NDArray[Any]) -> NDArray[Any]:
    """The magnitudes, with 0 for weights that are not finite."""
    magnitudes: NDArray[Any] = np.abs(block)
    return magnitudes if np.isfinite(magnitudes).all() else np.where(np.isfinite(magnitudes), magnitudes, 0)


def _smallest_normal(matrix: Matrix) -> float:
    """The smallest normal number of the stored type; 0 for integers, none of which is subnormal."""
    dtype = matrix.source.dtype
    if matrix.quantisation is not None or "float" not in dtype.name:
        return 0.0
    return float(ml_dtypes.finfo(dtype).smallest_normal)  # type: ignore[no-untyped-call]
