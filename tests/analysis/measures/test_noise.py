"""Baselines against draws of the noise they describe, and against the figures of the literature."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from analysis.measures.noise import GINI, baselines, indistinguishable, references, table
from analysis.measures.sparsity import ALWAYS, MEASURES, evaluate, parse
from study.records.analysis import Noise

N, DRAWS = 2000, 1200
Draw = Callable[[np.random.Generator], NDArray[Any]]
NOISE: dict[Noise, Draw] = {
    "uniform": lambda rng: rng.uniform(-0.05, 0.05, N),
    "normal": lambda rng: rng.normal(0, 3, N),
    "Laplace": lambda rng: rng.laplace(0, 1e-3, N),
}


@pytest.mark.parametrize("kind", NOISE)
def test_draws_have_the_mean_and_the_deviation_that_are_stated(kind: Noise) -> None:
    measures = parse("hoyer,gini,pqi,pq-mean(p=0.5,q=2),exact_zeros,l0")
    rng = np.random.default_rng(0)
    found = [[value.value for value in evaluate(measures, [NOISE[kind](rng)])] for _ in range(DRAWS)]
    for measure, values in zip(measures, np.array(found, float).T, strict=True):
        of = baselines(measure, N)[kind]
        assert abs(values.mean() - of.value) <= 4 * of.deviation / math.sqrt(DRAWS), measure
        assert values.std() == pytest.approx(of.deviation, rel=0.1), measure


def test_the_limits_are_those_of_the_literature() -> None:
    limits = references(ALWAYS)
    assert {name: [round(value, 4) for value in kinds.values()] for name, kinds in limits.items()} == {
        "hoyer": [0.1340, 0.2021, 0.2929],
        "gini": [0.3333, 0.4142, 0.5],
        "pqi(p=1,q=2)": [0.1340, 0.2021, 0.2929],
    }


def test_hoyer_of_normal_weights_spreads_as_its_variance_by_hand() -> None:
    """V = (M_2 / M_1^2 - 1) - (M_3 / (M_1 M_2) - 1) + (M_4 / M_2^2 - 1) / 4 of M_1 = sqrt(2/pi), 1, 2 M_1 and 3."""
    variance = math.pi / 2 - 1 - (2 - 1) + (3 - 1) / 4
    for n, rounded in ((840, 0.0076), (10_080, 0.0021)):
        by_hand = math.sqrt(2 / math.pi) * math.sqrt(variance / n) / (1 - 1 / math.sqrt(n))
        assert by_hand == pytest.approx(rounded, abs=5e-5)
        assert baselines(MEASURES["hoyer"], n)["normal"].deviation == pytest.approx(by_hand, rel=1e-12)


def test_the_variance_of_the_normal_gini_is_that_of_its_influence_by_quadrature() -> None:
    x = (np.arange(20_000) + 0.5) / 2000  # midpoints of 0..10
    cdf = np.array([math.erf(v / math.sqrt(2)) for v in x])
    density = math.sqrt(2 / math.pi) * np.exp(-(x**2) / 2)
    density /= density.sum()
    mean = float((x * density).sum())
    below = np.cumsum(x * density) - x * density / 2
    distance = x * (2 * cdf - 1) + mean - 2 * below  # E|x - Y|
    influence = distance - (math.sqrt(2) - 1) * x
    variance = float((influence**2 * density).sum() - (influence * density).sum() ** 2) / mean**2
    assert GINI["normal"][1] == pytest.approx(variance, rel=1e-4)


def test_a_value_within_two_deviations_is_not_distinguishable_from_noise() -> None:
    gini, n = MEASURES["gini"], 10_000
    of = baselines(gini, n)["normal"]
    assert indistinguishable(of.value + 1.9 * of.deviation, gini, n) == ["normal"]
    assert indistinguishable(of.value + 2.1 * of.deviation, gini, n) == []


def test_a_measure_without_deviation_is_not_compared_with_noise() -> None:
    assert indistinguishable(0.0, MEASURES["exact_zeros"], 100) == []


def test_the_table_has_a_row_a_number_of_weights_and_no_measure_that_never_spreads() -> None:
    (row,) = table(ALWAYS, [840, 840])
    assert row["weights"] == "840"
    assert row["hoyer, normal"] == "0.2093 ± 0.0076"
    assert {name.partition(",")[0] for name in row} == {"weights", "hoyer", "gini", "pqi(p=1"}


@pytest.mark.parametrize("text", ["-l1", "u_theta", "H_S", "pq-mean(p=-0.5,q=2)"])
def test_a_measure_without_a_known_form_has_no_baseline(text: str) -> None:
    assert baselines(parse(text)[0], 1000) == {}


def test_one_weight_has_no_baseline() -> None:
    assert baselines(MEASURES["hoyer"], 1) == {}
