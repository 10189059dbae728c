"""The six criteria of Hurley & Rickard, and which measure meets which: the table of their paper, checked.

S is a measure, c a vector of magnitudes of which at least two are not zero (arXiv 0811.4706, section II; a single one
already has all there is, so that neither its growth nor one more zero can make Hoyer sparser than 1):

- D1 Robin Hood: S falls when 0 < alpha < (c_i - c_j) / 2 is moved from c_i to a smaller c_j.
- D2 Scaling: S(alpha c) = S(c) for alpha > 0.
- D3 Rising Tide: S falls when the same alpha > 0 is added to every c_i, unless all are equal.
- D4 Cloning: S(c) = S(c || c).
- P1 Bill Gates: for every i there is a beta > 0 from which on S rises with c_i: for every alpha > 0 it is larger at
  c_i + beta + alpha than at c_i + beta.
- P2 Babies: S(c || 0) > S(c).

Where a criterion is met, hypothesis finds no exception; where it is not, an exception is written down. The paper's
table does not grant D3 to l2/l1, which has it (Cauchy-Schwarz); `exact_zeros` and `pqi` are not in it.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from analysis.measures.sparsity import MEASURES, of, parse

Vector = NDArray[np.float64]
Sparsity = Callable[[Vector], float]

MET = {
    "l0": "D2 P2",
    "l0_eps": "P2",
    "-l1": "D3",
    "-lp": "D1 D3",
    "l2/l1": "D1 D2 D3 P1",
    "-tanh": "D1 D3",
    "-log": "D3",
    "kappa4": "D2 D3 P1",
    "u_theta": "D2 D4",
    "-lp_-": "P1",
    "H_G": "D1 D3",
    "H_S": "D2",
    "H_S'": "",
    "hoyer": "D1 D2 D3 P1 P2",
    "pq-mean": "D1 D2 D3 D4 P1 P2",
    "pq-mean(p=0.5,q=2)": "D1 D2 D3 D4 P1 P2",
    "pq-mean(p=1,q=4)": "D1 D2 D3 D4 P1 P2",
    "pq-mean(p=0.3,q=1.2)": "D1 D2 D3 D4 P1 P2",
    "gini": "D1 D2 D3 D4 P1 P2",
    "exact_zeros": "D2 D4 P2",
    "pqi": "D1 D2 D3 D4 P1 P2",
}


def robin_hood(s: Sparsity, c: Vector, i: int, j: int, share: float) -> bool:
    """Whether S falls when `share`, 0 to 1, of half the difference goes from c_i to c_j."""
    alpha = share * (c[i] - c[j]) / 2
    assert alpha > 0
    given_away = c.copy()
    given_away[[i, j]] += [-alpha, alpha]
    return s(given_away) < s(c)


def scaling(s: Sparsity, c: Vector, alpha: float) -> bool:
    return s(alpha * c) == pytest.approx(s(c), rel=1e-12, abs=1e-12)


def rising_tide(s: Sparsity, c: Vector, alpha: float) -> bool:
    assert c.min() < c.max()
    return s(c + alpha) < s(c)


def cloning(s: Sparsity, c: Vector) -> bool:
    return s(np.concatenate([c, c])) == pytest.approx(s(c), rel=1e-12, abs=1e-12)


def bill_gates(s: Sparsity, c: Vector, i: int, beta: float, alpha: float) -> bool:
    richer = np.eye(1, c.size, i)[0]
    return s(c + richer * (beta + alpha)) > s(c + richer * beta)


def babies(s: Sparsity, c: Vector) -> bool:
    return s(np.append(c, 0)) > s(c)


CRITERIA: dict[str, Callable[..., bool]] = {
    "D1": robin_hood,
    "D2": scaling,
    "D3": rising_tide,
    "D4": cloning,
    "P1": bill_gates,
    "P2": babies,
}


def sparsity_of(text: str) -> Sparsity:
    """The measure as a function; where it is undefined NaN, which no comparison holds for."""
    measure = parse(text)[0]

    def sparsity(c: Vector) -> float:
        value = of(measure, c).value
        return np.nan if value is None else value

    return sparsity


EXCEPTIONS: tuple[tuple[str, list[float], tuple[Any, ...], str], ...] = (
    ("D1", [1, 2], (1, 0, 0.5), "l0 l0_eps -l1 u_theta -lp_- H_S H_S' exact_zeros"),
    ("D1", [0, 1, 1], (1, 0, 0.5), "-log kappa4"),
    ("D2", [1, 1], (2.0,), "-l1 -lp -tanh -log -lp_- H_G H_S'"),
    ("D2", [0.0008, 1], (2.0,), "l0_eps"),
    ("D3", [1, 2], (1.0,), "l0 l0_eps u_theta -lp_- H_S exact_zeros"),
    ("D3", [0, 0, 1, 1], (0.125,), "H_S'"),
    ("D4", [1, 1], (), "-l1 -lp l2/l1 -tanh -log kappa4 -lp_- H_S"),
    ("D4", [0, 1, 1], (), "l0 l0_eps"),
    ("D4", [1, 2], (), "H_G H_S' hoyer"),
    ("P1", [1, 1], (0,), "l0 l0_eps -l1 -lp -tanh -log H_G H_S H_S' exact_zeros"),
    ("P1", [1, 2], (0,), "u_theta"),
    ("P2", [1, 1], (), "-l1 -lp l2/l1 -tanh -log kappa4 -lp_- H_G H_S H_S'"),
    ("P2", [1, 2], (), "u_theta"),
)
"""Criterion, c, the further arguments of the criterion's function (of P1 only i: every beta has to fail), measures."""


magnitudes = (
    st.lists(st.integers(0, 40), min_size=2, max_size=7)
    .filter(lambda c: sum(map(bool, c)) > 1)
    .map(lambda c: np.array(c) / 16)
)
"""Up to 2.5, where tanh is not yet 1, and far enough apart for a fall to be larger than the rounding."""


def holds(criterion: str, c: Vector, *more: Any) -> None:
    """No measure that meets the criterion, and is defined for `c`, is an exception."""
    for name, met in MET.items():
        sparsity = sparsity_of(name)
        if criterion in met and not np.isnan(sparsity(c)):
            assert CRITERIA[criterion](sparsity, c, *more), name


class TestMet:
    @settings(max_examples=60, deadline=None)
    @given(c=magnitudes, share=st.floats(0.1, 0.9), data=st.data())
    def test_sparsity_falls_when_the_rich_give_to_the_poor(self, c: Vector, share: float, data: st.DataObject) -> None:
        assume(c.min() < c.max())
        i, j = data.draw(st.sampled_from([(i, j) for i in range(c.size) for j in range(c.size) if c[i] > c[j]]))
        holds("D1", c, i, j, share)

    @settings(max_examples=60, deadline=None)
    @given(c=magnitudes, alpha=st.floats(1e-6, 1e6))
    def test_sparsity_stays_when_all_are_multiplied(self, c: Vector, alpha: float) -> None:
        holds("D2", c, alpha)

    @settings(max_examples=60, deadline=None)
    @given(c=magnitudes, alpha=st.floats(0.01, 2))
    def test_sparsity_falls_when_all_get_the_same(self, c: Vector, alpha: float) -> None:
        assume(c.min() < c.max())
        holds("D3", c, alpha)

    @settings(max_examples=60, deadline=None)
    @given(c=magnitudes)
    def test_sparsity_stays_when_there_are_two_of_each(self, c: Vector) -> None:
        holds("D4", c)

    @settings(max_examples=60, deadline=None)
    @given(c=magnitudes, alpha=st.floats(0.01, 1e3), data=st.data())
    def test_sparsity_rises_as_one_gets_ever_richer(self, c: Vector, alpha: float, data: st.DataObject) -> None:
        holds("P1", c, data.draw(st.integers(0, c.size - 1)), 10 * float(c.sum()), alpha)

    @settings(max_examples=60, deadline=None)
    @given(c=magnitudes)
    def test_sparsity_rises_with_one_more_zero(self, c: Vector) -> None:
        holds("P2", c)


def test_a_criterion_that_is_not_met_has_an_exception() -> None:
    for criterion, c, more, names in EXCEPTIONS:
        further = [(beta, 1.0) for beta in (1, 10, 1000)] if criterion == "P1" else [()]
        for name in names.split():
            sparsity, vector = sparsity_of(name), np.array(c, float)
            assert np.isfinite(sparsity(vector)), name
            assert not any(CRITERIA[criterion](sparsity, vector, *more, *rest) for rest in further), (name, criterion)


def test_every_measure_and_criterion_is_either_met_or_has_an_exception() -> None:
    assert {parse(name)[0].name for name in MET} == set(MEASURES)
    not_met = [(name, criterion) for name, met in MET.items() for criterion in CRITERIA if criterion not in met.split()]
    assert sorted((name, criterion) for criterion, *_, names in EXCEPTIONS for name in names.split()) == sorted(not_met)
