"""The ratio of two sessions: Welch's t over the logarithms of one value a process."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from study.records.base import Interval


@dataclass(frozen=True)
class Contrast:
    """new / old in logarithms. Every array is float64 and has the leading shape of the values, one entry a ratio."""

    difference: NDArray[np.float64]
    """Mean logarithm of the new values, less that of the old ones."""
    error: NDArray[np.float64]
    """Its standard error."""
    freedom: NDArray[np.float64]
    """Degrees of freedom."""

    def p_above(self, log_limit: NDArray[np.float64] | float) -> NDArray[np.float64]:
        """One-sided p-value of "the ratio is above exp(log_limit)"; small where that is shown."""
        return self._upper_tail(self.difference - log_limit)

    def p_below(self, log_limit: NDArray[np.float64] | float) -> NDArray[np.float64]:
        """One-sided p-value of "the ratio is below exp(log_limit)"; small where that is shown."""
        return self._upper_tail(log_limit - self.difference)

    def interval(self, confidence: float = 0.95) -> Interval:
        """The ratio with its two-sided interval, of a single contrast."""
        from scipy.stats import t  # imported here to keep --help fast

        half = float(t.ppf((1 + confidence) / 2, self.freedom) * self.error)
        mean = float(self.difference)
        return Interval(value=math.exp(mean), low=math.exp(mean - half), high=math.exp(mean + half))

    def _upper_tail(self, distance: NDArray[np.float64]) -> NDArray[np.float64]:
        """P(T > distance / error); where nothing varies the sign of the distance decides."""
        from scipy.stats import t

        with np.errstate(divide="ignore", invalid="ignore"):
            p = t.sf(distance / self.error, self.freedom)
        return np.where(self.error > 0, p, np.where(distance > 0, 0.0, 1.0))


def stacked(contrasts: Sequence[Contrast]) -> Contrast:
    """Contrasts of single ratios as one family, along the only axis."""
    return Contrast(
        difference=np.array([it.difference for it in contrasts]),
        error=np.array([it.error for it in contrasts]),
        freedom=np.array([it.freedom for it in contrasts]),
    )


def contrast(old: ArrayLike, new: ArrayLike) -> Contrast:
    """The contrast of two sessions with positive values of shape [..., processes], two processes or more.

    The variances may differ (a session on a busier day varies more), hence Welch: the error is the root of s1^2 / n1 +
    s2^2 / n2, the degrees of freedom are Satterthwaite's. Welch, "The generalization of 'Student's' problem when
    several different population variances are involved", Biometrika 34, 1947, 28-35.
    """
    before, after = (np.log(np.asarray(values, dtype=np.float64)) for values in (old, new))
    shares = [np.var(logs, axis=-1, ddof=1) / logs.shape[-1] for logs in (before, after)]
    freedoms = [logs.shape[-1] - 1 for logs in (before, after)]
    total = shares[0] + shares[1]
    below = sum(share**2 / freedom for share, freedom in zip(shares, freedoms, strict=True))
    with np.errstate(divide="ignore", invalid="ignore"):
        freedom = np.where(total > 0, total**2 / below, sum(freedoms))
    difference = after.mean(-1) - before.mean(-1)
    return Contrast(difference=np.asarray(difference), error=np.sqrt(total), freedom=freedom)
