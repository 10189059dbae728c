"""Is a model's test error different from the baseline's, or is what is seen only noise?

All runs see the same test images, so two models are compared image by image. With e_i the share of one model's runs
that get image i wrong less the share of the baseline's runs that do, the difference of the mean test errors is the mean
of e_i over the N images, and it is called "better" or "worse" only if it is larger than the noise,

    2 sqrt(s_a^2 / n_a + s_b^2 / n_b + var(e_i) / N),

with the sample standard deviations s of the runs' test errors and the numbers of runs n. The first two terms are what
the seed does, the last what the choice of the test images does; images that are easy or hard for both models do not
count. Where each model has one run the last term alone is McNemar's test (Psychometrika 12, 1947): with b images that
only one model gets wrong and c that only the other does, mean over standard error is (b - c) / sqrt(b + c), but for
(b - c)^2 / N under the root and a factor sqrt(1 - 1 / N).

It is a little careful, as var(e_i) has some of the seeds' variance in it too. It is less careful where the seeds' terms
are the larger ones: the factor is 2 and not Student's quantile, and s from few runs is uncertain. One run is not
judged.
"""

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

Wrong = NDArray[np.bool_]


def judge(wrong: Wrong, baseline: Wrong) -> dict[str, Any]:
    """`verdict`, `test_error_change` and `test_error_noise` of a model against the baseline.

    The arrays are (runs, images), true where a run gets an image wrong; the images are the same for both. There is no
    noise where either has fewer than two runs.
    """
    change = float(wrong.mean() - baseline.mean())
    if min(len(wrong), len(baseline)) < 2:
        return {"verdict": "not judged", "test_error_change": change}
    noise = 2 * math.sqrt(seed_variance(wrong) + seed_variance(baseline) + image_variance(wrong, baseline))
    verdict = "not distinguishable"
    if abs(change) > noise:
        verdict = "better" if change < 0 else "worse"
    return {"verdict": verdict, "test_error_change": change, "test_error_noise": noise}


def seed_variance(wrong: Wrong) -> float:
    """The variance of the mean test error of these runs that is due to their seeds: s^2 / n, for two runs or more."""
    return float(wrong.mean(axis=1).var(ddof=1)) / len(wrong)


def image_variance(wrong: Wrong, baseline: Wrong) -> float:
    """The variance of the difference that is due to the choice of the test images: var(e_i) / N."""
    differences = wrong.mean(axis=0) - baseline.mean(axis=0)
    return float(differences.var(ddof=1) / differences.size)
