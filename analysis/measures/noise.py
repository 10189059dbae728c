"""The value of a measure for weights that are noise: a layer with such a value is no sparser than at initialisation.

There are three kinds of noise, whose scale does not matter: uniform, as `torch.nn.Linear` is initialised; normal;
Laplace. For N independent weights a measure has the value below, up to terms of 1/N, and a standard deviation that
falls as 1/sqrt(N). Let X = |w|, M_p = E X^p.

Ratios of moments, K (mean c^p)^a (mean c^q)^b: the value is K M_p^a M_q^b. A mean of N terms X^p / M_p has variance
Var(X^p / M_p) / N, and the logarithm of the ratio is to first order a X^p / M_p + b X^q / M_q averaged over the weights
(delta method), so that

    deviation = |value| sqrt(V / N)
    V = a^2 (M_2p / M_p^2 - 1) + 2 a b (M_(p+q) / (M_p M_q) - 1) + b^2 (M_2q / M_q^2 - 1).

Gini: with Y independent of X and alike, m = E X and G = E|X - Y| / (2 m), each weight x moves the estimate by
(E|x - Y| - G x) / m - G, over N (Hoeffding, A Class of Statistics with Asymptotically Normal Distribution, Annals of
Mathematical Statistics 19, 1948), so that deviation = sqrt(Var(E|X - Y| given X, - G X) / N) / m:

    X uniform on [0, 1]  E|x - Y| = x^2 - x + 1/2, G = 1/3, m = 1/2:  Var(x^2 - 4x/3 + 1/2) / m^2 = 8/135
    X half-normal        E|x - Y| = x (4 Phi(x) - 3) - m + 2 m e^(-x^2/2), G = sqrt(2) - 1, m = sqrt(2/pi):
                         with E(E|X - Y| given X)^2 = 1/3 + (8 sqrt(3) - 8 sqrt(2) - 2) / pi and E(X |X - Y|) = 2/pi,
                         pi (5/3 - sqrt(2)) + 4 (sqrt(3) - sqrt(2)) - 2
    X exponential        E|x - Y| = x - 1 + 2 e^-x, G = 1/2, m = 1:  Var(x/2 + 2 e^-x) = 1/12

A weight drawn from a density is never exactly zero: 0 for `l0` and `exact_zeros`, without spread.
"""

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from analysis.measures.sparsity import Measure
from study.records.analysis import Noise

MOMENTS: dict[Noise, Callable[[float], float]] = {
    "uniform": lambda p: 1 / (p + 1),
    "normal": lambda p: 2 ** (p / 2) * math.gamma((p + 1) / 2) / math.sqrt(math.pi),
    "Laplace": lambda p: math.gamma(p + 1),
}
"""E X^p, p > -1, of each kind of noise: of |w| for w uniform on [-1, 1], standard normal, Laplace with scale 1."""
FEWEST = 100
"""The fewest weights for which the formulas hold to a few per cent; fewer have no baseline."""
GINI: dict[Noise, tuple[float, float]] = {
    "uniform": (1 / 3, 8 / 135),
    "normal": (math.sqrt(2) - 1, math.pi * (5 / 3 - math.sqrt(2)) + 4 * (math.sqrt(3) - math.sqrt(2)) - 2),
    "Laplace": (1 / 2, 1 / 12),
}
"""The Gini of each kind of noise, and N times its variance."""


@dataclass(frozen=True)
class Baseline:
    """The value of a measure for noise, and its standard deviation between draws."""

    value: float
    deviation: float


def baselines(measure: Measure, n: float) -> dict[Noise, Baseline]:
    """The baseline of each kind of noise for `n` weights, `math.inf` for the limit; empty if no formula is known."""
    name = measure.name
    if n < FEWEST:
        return {}
    if name == "gini":
        return {kind: Baseline(value, math.sqrt(variance / n)) for kind, (value, variance) in GINI.items()}
    if name in ("l0", "exact_zeros"):
        return dict.fromkeys(MOMENTS, Baseline(0.0, 0.0))
    if name == "hoyer":
        ratios = {kind: _ratio(moment, (1, 1), (2, -1 / 2), n) for kind, moment in MOMENTS.items()}
        root = 1 / (1 - 1 / math.sqrt(n))  # sqrt N / (sqrt N - 1), which has a limit
        return {kind: Baseline((1 - of.value) * root, of.deviation * root) for kind, of in ratios.items()}
    if name in ("pq-mean", "pqi"):
        p, q = measure.arguments
        if p <= -1 / 2:  # mean c^p has no variance
            return {}
        ratios = {kind: _ratio(moment, (p, 1 / p), (q, -1 / q), n) for kind, moment in MOMENTS.items()}
        return {kind: Baseline((name == "pqi") - of.value, of.deviation) for kind, of in ratios.items()}
    return {}


def indistinguishable(value: float, measure: Measure, n: int) -> list[Noise]:
    """The kinds of noise whose baseline for `n` weights lies within two standard deviations of `value`.

    Noise without a deviation, as in its share of exact zeros, is not among them: to equal it says nothing.
    """
    kinds = baselines(measure, n).items()
    return [kind for kind, of in kinds if of.deviation and abs(value - of.value) <= 2 * of.deviation]


def _ratio(
    moment: Callable[[float], float], above: tuple[float, float], below: tuple[float, float], n: float
) -> Baseline:
    """The baseline of (mean c^p)^a (mean c^q)^b, given (p, a) and (q, b)."""
    (p, a), (q, b) = above, below
    of_p, of_q = moment(p), moment(q)
    value = of_p**a * of_q**b
    variance = (
        a**2 * (moment(2 * p) / of_p**2 - 1)
        + 2 * a * b * (moment(p + q) / (of_p * of_q) - 1)
        + b**2 * (moment(2 * q) / of_q**2 - 1)
    )
    return Baseline(value, value * math.sqrt(variance / n))


def references(measures: Iterable[Measure]) -> dict[str, dict[str, float]]:
    """The limit of each measure for each kind of noise as N grows, by the measure's text and the kind."""
    return {
        str(measure): {kind: of.value for kind, of in baselines(measure, math.inf).items()}
        for measure in measures
        if spreads(measure)
    }


def spreads(measure: Measure) -> bool:
    """Whether the measure of noise has a deviation; the share of exact zeros is 0 in every draw."""
    return any(of.deviation for of in baselines(measure, FEWEST).values())


def table(measures: Iterable[Measure], sizes: Iterable[int]) -> list[dict[str, str]]:
    """A row a number of weights: value and standard deviation of each measure for each kind of noise."""
    spreading = [measure for measure in measures if spreads(measure)]
    return [
        {
            "weights": f"{n:,}",
            **{
                f"{measure}, {kind}": f"{of.value:.4f} ± {of.deviation:.2g}"
                for measure in spreading
                for kind, of in baselines(measure, n).items()
            },
        }
        for n in dict.fromkeys(sizes)
        if n >= FEWEST
    ]
