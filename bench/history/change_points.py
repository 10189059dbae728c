"""Where a series of sessions changes its level: E-divisive with a permutation test.

D. S. Matteson and N. A. James, A nonparametric approach for multiple change point analysis of multivariate data,
Journal of the American Statistical Association 109 (2014), 334-345. A segment is split where the energy statistic of
what lies before and after is largest, as long as a permutation test calls it significant; then its parts are searched.

Apache Otava (Hunter), which does this, pins numpy 2.2.0 and brings 45 packages (gRPC, BigQuery, Slack, PostgreSQL);
ruptures has no test of significance. Three details differ from the paper, all fixed before any permutation:

- Values are clipped to three robust standard deviations around the median of their segment, because one odd session
  otherwise hides a step. The clipped values do not depend on their order, so the permutation test stays exact.
- The paper's statistic also looks for the end of the second part, which finds a rise that was mended, but is weaker for
  a step that stays. Both statistics are tested, each at half of the level.
- A stage tests all segments at the level divided by their number. So a series without a change, or without a further
  one, gives an alarm with at most the probability `level`.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

Values = NDArray[np.float64]
Whole = NDArray[np.int64]
Single = NDArray[np.float32]

SHORTEST = 4
"""Sessions in a segment at least."""
CLIP = 3.0
"""Robust standard deviations from the median, beyond which a value is clipped."""
EXCEEDING = 3
"""Permutations that reach the statistic and still leave it significant, plus 1: they decide how many are made."""
GRID = 40
"""Places at which the permutations of a long series are split; the change itself is then located among all."""
BATCH = 2_000_000
"""Numbers in one array of permutations."""


@dataclass(frozen=True)
class ChangePoint:
    """A change of level between two values of a series."""

    index: int
    """Number of the first value after it."""
    p: float
    """Of the permutation test, times the number of tests of its stage."""


@dataclass(frozen=True)
class _Split:
    """The most likely change in one segment."""

    index: int
    p: float


def fewest(level: float) -> int:
    """Values that a series needs for any change to be significant at `level`.

    The p-value of n values is at least that of two parts that do not overlap: 2 / (n choose n / 2), doubled because two
    statistics are tested.
    """
    return next(n for n in range(2 * SHORTEST, 10_000) if 4 / math.comb(n, n // 2) <= level)


def change_points(values: Sequence[float] | Values, level: float, seed: int = 0) -> tuple[ChangePoint, ...]:
    """The changes of level in a series of independent values, in their order.

    Args:
        values: Of one dimension; logarithms of times or ratios.
        level: Largest probability of an alarm in a series without a change.
        seed: Of the permutations; the same values give the same changes.
    """
    series = np.asarray(values, dtype=np.float64)
    random = np.random.default_rng(seed)
    ends, splits, found = [0, len(series)], dict[tuple[int, int], _Split](), []
    while True:
        segments = [(begin, end) for begin, end in pairwise(ends) if end - begin >= 2 * SHORTEST]
        if not segments:
            break
        for begin, end in segments:
            if (begin, end) not in splits:
                split = _tested(series[begin:end], level / len(segments), random)
                splits[begin, end] = _Split(begin + split.index, split.p)
        best = min((splits[pair] for pair in segments), key=lambda split: split.p)
        if best.p * len(segments) > level:
            break
        found.append(ChangePoint(best.index, best.p * len(segments)))
        ends = sorted([*ends, best.index])
    return tuple(sorted(found, key=lambda change: change.index))


def _tested(values: Values, level: float, random: np.random.Generator) -> _Split:
    """The most likely change in `values`, with the smaller of the two p-values, doubled.

    It ends as soon as so many permutations have reached the statistic that it cannot be significant any more (Besag &
    Clifford, Biometrika 78, 1991).
    """
    n = len(values)
    ranked = _Ranked.of(_clipped(values))
    coarse = _Splits.of(n, math.ceil(n / GRID))
    observed = coarse.largest(ranked.sums(ranked.order, coarse.grid))[0][:, 0] * (
        1 - 1e-5
    )  # equal ones are rounded in another order
    most = math.ceil(2 * EXCEEDING / level) - 1
    reached, made, size = np.zeros(2, dtype=np.int64), np.zeros(2, dtype=np.int64), 64
    while (running := (reached < EXCEEDING) & (made < most)).any():
        size = min(2 * size, max(1, BATCH // (n * len(coarse.grid))), most - int(made.max()))
        orders = random.permuted(np.tile(ranked.order, (size, 1)), axis=1)
        statistics, _ = coarse.largest(ranked.sums(orders, coarse.grid))
        reached += np.where(running, (statistics >= observed[:, None]).sum(axis=1), 0)
        made += np.where(running, size, 0)
    p = 2 * (1 + reached) / (1 + made)
    which = int(p.argmin())
    fine = _Splits.of(n, 1)
    _, places = fine.largest(ranked.sums(ranked.order, fine.grid))
    return _Split(int(places[which, 0]), min(1.0, float(p[which])))


def _clipped(values: Values) -> Values:
    """The values, none farther from their median than `CLIP` robust standard deviations."""
    middle = np.median(values)
    reach = CLIP * 1.4826 * np.median(np.abs(values - middle))  # 1.4826: of normal values the standard deviation
    return np.clip(values, middle - reach, middle + reach) if reach > 0 else values


@dataclass(frozen=True)
class _Ranked:
    """A series as ranks in time, and the gaps between its sorted values."""

    order: Whole
    """(1, n): the rank of each value."""
    gaps: Single
    """(n,): from each sorted value to the next, and 0."""

    @classmethod
    def of(cls, values: Values) -> "_Ranked":
        places = np.argsort(values, kind="stable")
        order = np.empty_like(places)
        order[places] = np.arange(len(values))
        return cls(order[None], np.append(np.diff(values[places]), 0.0).astype(np.float32))

    def sums(self, orders: Whole, grid: Whole) -> Single:
        """Sums of the distances between each two prefixes of a series.

        With C(t, r) of the first t values among the r smallest, two prefixes s and t have the sum over all gaps of
        gap * (C(s, r) * (t - C(t, r)) + C(t, r) * (s - C(s, r))): each gap lies between so many pairs.

        Args:
            orders: (series, n), the ranks of each series.
            grid: (g,), lengths of the prefixes, ascending, the last n.

        Returns:
            (series, g, g).
        """
        counts = np.zeros((len(orders), len(grid), orders.shape[1]), dtype=np.float32)
        block = np.searchsorted(grid, np.arange(orders.shape[1]), side="right")  # the first prefix that has the value
        counts[np.arange(len(orders))[:, None], block, orders] = 1
        np.cumsum(counts, axis=1, out=counts)
        np.cumsum(counts, axis=2, out=counts)
        half = (counts * self.gaps) @ (grid[:, None] - counts).astype(np.float32).swapaxes(1, 2)
        return (half + half.swapaxes(1, 2)).astype(np.float32)


@dataclass(frozen=True)
class _Splits:
    """Pairs of ends (tau, kappa) of the two parts of a segment: values 0..tau-1 and tau..kappa-1."""

    grid: Whole
    """The ends that are tried, ascending, the last n."""
    tau: Whole
    """Numbers in the grid. The pairs with kappa = n come first."""
    kappa: Whole
    whole: int
    """How many pairs have kappa = n."""

    @classmethod
    def of(cls, n: int, step: int) -> "_Splits":
        grid = np.arange(n, SHORTEST - 1, -step)[::-1].astype(np.int64)
        first, second = np.nonzero(grid - grid[:, None] >= SHORTEST)
        last = second == len(grid) - 1
        tau, kappa = (np.concatenate([ends[last], ends[~last]]) for ends in (first, second))
        return cls(grid, tau, kappa, int(last.sum()))

    def largest(self, sums: Single) -> tuple[Single, Whole]:
        """The largest statistics, and the tau of each.

        Args:
            sums: Of `_Ranked.sums`.

        Returns:
            Statistics and places, both (2, series): of the pairs with kappa = n, and of all.
        """
        before, after = self.grid[self.tau], self.grid[self.kappa] - self.grid[self.tau]
        first, both = sums[:, self.tau, self.tau], sums[:, self.tau, self.kappa]
        second = sums[:, self.kappa, self.kappa] - 2 * both + first
        energy = 2 * (both - first) / (before * after)
        energy -= first / (before * (before - 1)) + second / (after * (after - 1))
        energy *= before * after / (before + after)
        best = np.stack([energy[:, : self.whole].argmax(axis=1), energy.argmax(axis=1)])
        return energy[np.arange(len(energy)), best], before[best]
