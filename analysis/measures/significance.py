"""Is a model's test error different from the baseline's?

A difference of the mean test errors is called "better" or "worse" only if it exceeds the noise,

    2 sqrt(s_a^2 / n_a + s_b^2 / n_b + var(e_i) / N),

with the sample standard deviations s of the runs' test errors and the numbers of runs n. All runs see the same N test
images, so the models are compared image by image: e_i is the share of one model's runs that misclassify image i minus
the share of the baseline's runs that do, and the difference is the mean of e_i. The first two terms are the variance
from the seeds, the last that from the choice of the test images; images that are easy or hard for both models do not
count. If each model has one run, the last term alone is McNemar's test (Psychometrika 12, 1947): with b images that
only one model misclassifies and c that only the other does, mean over standard error is (b - c) / sqrt(b + c), up to
(b - c)^2 / N under the root and a factor sqrt(1 - 1 / N).

The noise is slightly conservative, since var(e_i) contains some of the seeds' variance. It is less so if the seeds'
terms are the larger ones: the factor is 2 rather than Student's quantile, and s from few runs is uncertain. Models with
one run are not tested.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Wrong = NDArray[np.bool_]


@dataclass(frozen=True)
class Difference:
    """The test error of a model minus that of the baseline; without noise if either has fewer than two runs."""

    verdict: str
    test_error_change: float
    test_error_noise: float | None = None


def difference(wrong: Wrong, baseline: Wrong) -> Difference:
    """Compare a model with the baseline.

    The arrays are (runs, images), true if a run misclassifies an image; both are of the same images.
    """
    change = float(wrong.mean() - baseline.mean())
    if min(len(wrong), len(baseline)) < 2:
        return Difference("not judged", change)
    noise = 2 * math.sqrt(seed_variance(wrong) + seed_variance(baseline) + image_variance(wrong, baseline))
    verdict = "not distinguishable"
    if abs(change) > noise:
        verdict = "better" if change < 0 else "worse"
    return Difference(verdict, change, noise)


def seed_variance(wrong: Wrong) -> float:
    """The variance of the mean test error of these runs that is due to their seeds: s^2 / n, for two runs or more."""
    return float(wrong.mean(axis=1).var(ddof=1)) / len(wrong)


def image_variance(wrong: Wrong, baseline: Wrong) -> float:
    """The variance of the difference that is due to the choice of the test images: var(e_i) / N."""
    differences = wrong.mean(axis=0) - baseline.mean(axis=0)
    return float(differences.var(ddof=1) / differences.size)
