"""The formulas of the measures: sums over magnitudes, and functions of N and of such sums."""

import math
from collections.abc import Callable

import numpy as np

from analysis.measures.ranks import Floats, Undefined
from analysis.measures.sums import Term, power

TINY = float(np.finfo(np.float64).tiny)


def _zeros(c: Floats) -> float:
    return float(np.count_nonzero(c == 0))


def at_most(c: Floats, epsilon: float) -> float:
    return float(np.count_nonzero(c <= epsilon))


def tanh(c: Floats, a: float, b: float) -> float:
    return float(np.tanh((a * c) ** b).sum())


def log_1_square(c: Floats) -> float:
    return float(np.log1p(np.square(c)).sum())


def power_log(c: Floats, p: float) -> float:
    """sum c^p log c^2, with 0 log 0 = 0."""
    present = c[c > 0]
    return 2 * float((present**p * np.log(present)).sum())


ZEROS = Term(_zeros, scaled=False)  # next to 1e300, 1e-300 becomes zero by scaling
SQUARES = Term(power, (2.0,))


def hoyer(n: int, total: float, squares: float) -> float:
    if n == 1:
        raise Undefined("only one weight")
    root = math.sqrt(n)
    return _between(0, (root - total / math.sqrt(nonzero(squares))) / (root - 1), 1)


def pq_mean(n: int, zeros: float, small: float, of_p: float, of_q: float, p: float, q: float) -> float:
    nonzero(n - zeros)
    if zeros and p < 0:
        raise Undefined("a weight is zero, and p < 0")
    if small != zeros:
        raise Undefined("the magnitudes span more than the range of float64")
    return _between(-1, -(_mean(of_p, n) ** (1 / p)) / _mean(of_q, n) ** (1 / q), 0)


def lp(n: int, zeros: float, total: float, p: float) -> float:
    return -(_mean(total, 1) ** (1 / p)) if zeros < n else 0.0


def gaussian_entropy(n: int, zeros: float, logarithms: float) -> float:
    if zeros:
        raise Undefined("a weight is zero, and has no logarithm")
    return -logarithms


def shannon(n: int, squares: float, with_logarithms: float) -> float:
    """-sum s log s^2 with s = c^2 / E, E = sum c^2: as s log s = c^2 (log c^2 - log E) / E, from sums over c alone."""
    return max(2 * (math.log(nonzero(squares)) - with_logarithms / squares), 0.0)


def nonzero(total: float) -> float:
    if total == 0:
        raise Undefined("all weights are zero")
    return total


def _mean(total: float, n: int) -> float:
    """total / n, if it is a normal number; below that the terms have lost digits."""
    if not TINY <= total / n < math.inf:
        raise Undefined("a power is out of the range of float64")
    return total / n


def _between(least: float, value: float, most: float) -> float:
    """`value`, without a rounding error that takes it out of its bounds."""
    return min(max(value, least), most)


def raw(function: Callable[..., float], *arguments: float) -> Term:
    return Term(function, arguments, scaled=False)


def pq_terms(p: float, q: float) -> tuple[Term, ...]:
    small = ZEROS if p == 1 else Term(at_most, (TINY,))  # if p = 1, terms that scaling made imprecise add nothing
    return ZEROS, small, Term(power, (p,)), Term(power, (q,))
