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


EXCEPTIONS: list[tuple[str, str, list[float], tuple[Any, ...]]] = [
    ("l0", "D1", [1.0, 2.0], (1, 0, 0.5)),
    ("l0", "D3", [1.0, 2.0], (1.0,)),
    ("l0", "D4", [0.0, 1.0, 1.0], ()),
    ("l0", "P1", [1.0, 1.0], (0,)),
    ("l0_eps", "D1", [1.0, 2.0], (1, 0, 0.5)),
    ("l0_eps", "D2", [0.0008, 1.0], (2.0,)),
    ("l0_eps", "D3", [1.0, 2.0], (1.0,)),
    ("l0_eps", "D4", [0.0, 1.0, 1.0], ()),
    ("l0_eps", "P1", [1.0, 1.0], (0,)),
    ("-l1", "D1", [1.0, 2.0], (1, 0, 0.5)),
    ("-l1", "D2", [1.0, 1.0], (2.0,)),
    ("-l1", "D4", [1.0, 1.0], ()),
    ("-l1", "P1", [1.0, 1.0], (0,)),
    ("-l1", "P2", [1.0, 1.0], ()),
    ("-lp", "D2", [1.0, 1.0], (2.0,)),
    ("-lp", "D4", [1.0, 1.0], ()),
    ("-lp", "P1", [1.0, 1.0], (0,)),
    ("-lp", "P2", [1.0, 1.0], ()),
    ("l2/l1", "D4", [1.0, 1.0], ()),
    ("l2/l1", "P2", [1.0, 1.0], ()),
    ("-tanh", "D2", [1.0, 1.0], (2.0,)),
    ("-tanh", "D4", [1.0, 1.0], ()),
    ("-tanh", "P1", [1.0, 1.0], (0,)),
    ("-tanh", "P2", [1.0, 1.0], ()),
    ("-log", "D1", [0.0, 1.0, 1.0], (1, 0, 0.5)),
    ("-log", "D2", [1.0, 1.0], (2.0,)),
    ("-log", "D4", [1.0, 1.0], ()),
    ("-log", "P1", [1.0, 1.0], (0,)),
    ("-log", "P2", [1.0, 1.0], ()),
    ("kappa4", "D1", [0.0, 1.0, 1.0], (1, 0, 0.5)),
    ("kappa4", "D4", [1.0, 1.0], ()),
    ("kappa4", "P2", [1.0, 1.0], ()),
    ("u_theta", "D1", [1.0, 2.0], (1, 0, 0.5)),
    ("u_theta", "D3", [1.0, 2.0], (1.0,)),
    ("u_theta", "P1", [1.0, 2.0], (0,)),
    ("u_theta", "P2", [1.0, 2.0], ()),
    ("-lp_-", "D1", [1.0, 2.0], (1, 0, 0.5)),
    ("-lp_-", "D2", [1.0, 1.0], (2.0,)),
    ("-lp_-", "D3", [1.0, 2.0], (1.0,)),
    ("-lp_-", "D4", [1.0, 1.0], ()),
    ("-lp_-", "P2", [1.0, 1.0], ()),
    ("H_G", "D2", [1.0, 1.0], (2.0,)),
    ("H_G", "D4", [1.0, 2.0], ()),
    ("H_G", "P1", [1.0, 1.0], (0,)),
    ("H_G", "P2", [1.0, 1.0], ()),
    ("H_S", "D1", [1.0, 2.0], (1, 0, 0.5)),
    ("H_S", "D3", [1.0, 2.0], (1.0,)),
    ("H_S", "D4", [1.0, 1.0], ()),
    ("H_S", "P1", [1.0, 1.0], (0,)),
    ("H_S", "P2", [1.0, 1.0], ()),
    ("H_S'", "D1", [1.0, 2.0], (1, 0, 0.5)),
    ("H_S'", "D2", [1.0, 1.0], (2.0,)),
    ("H_S'", "D3", [0.0, 0.0, 1.0, 1.0], (0.125,)),
    ("H_S'", "D4", [1.0, 2.0], ()),
    ("H_S'", "P1", [1.0, 1.0], (0,)),
    ("H_S'", "P2", [1.0, 1.0], ()),
    ("hoyer", "D4", [1.0, 2.0], ()),
    ("exact_zeros", "D1", [1.0, 2.0], (1, 0, 0.5)),
    ("exact_zeros", "D3", [1.0, 2.0], (1.0,)),
    ("exact_zeros", "P1", [1.0, 1.0], (0,)),
]
"""Measure, criterion, c, and what the criterion's function takes besides; of P1 only i, for every beta has to fail."""


magnitudes = (
    st.lists(st.integers(0, 40), min_size=2, max_size=7)
    .filter(lambda c: sum(map(bool, c)) > 1)
    .map(lambda c: np.array(c) / 16)
)
"""Up to 2.5, where tanh is not yet 1, and far enough apart for a fall to be larger than the rounding."""


def defined(name: str, c: Vector) -> Sparsity:
    """The measure, if `c` is a vector that it is defined for."""
    s = sparsity_of(name)
    assume(not np.isnan(s(c)))
    return s


@pytest.mark.parametrize("name", [name for name, met in MET.items() if "D1" in met])
@settings(max_examples=25, deadline=None)
@given(c=magnitudes, share=st.floats(0.1, 0.9), data=st.data())
def test_sparsity_falls_when_the_rich_give_to_the_poor(name: str, c: Vector, share: float, data: st.DataObject) -> None:
    s = defined(name, c)
    assume(c.min() < c.max())
    i, j = data.draw(st.sampled_from([(i, j) for i in range(c.size) for j in range(c.size) if c[i] > c[j]]))
    assert robin_hood(s, c, i, j, share)


@pytest.mark.parametrize("name", [name for name, met in MET.items() if "D2" in met])
@settings(max_examples=25, deadline=None)
@given(c=magnitudes, alpha=st.floats(1e-6, 1e6))
def test_sparsity_stays_when_all_are_multiplied(name: str, c: Vector, alpha: float) -> None:
    assert scaling(defined(name, c), c, alpha)


@pytest.mark.parametrize("name", [name for name, met in MET.items() if "D3" in met])
@settings(max_examples=25, deadline=None)
@given(c=magnitudes, alpha=st.floats(0.01, 2))
def test_sparsity_falls_when_all_get_the_same(name: str, c: Vector, alpha: float) -> None:
    assume(c.min() < c.max())
    assert rising_tide(defined(name, c), c, alpha)


@pytest.mark.parametrize("name", [name for name, met in MET.items() if "D4" in met])
@settings(max_examples=25, deadline=None)
@given(c=magnitudes)
def test_sparsity_stays_when_there_are_two_of_each(name: str, c: Vector) -> None:
    assert cloning(defined(name, c), c)


@pytest.mark.parametrize("name", [name for name, met in MET.items() if "P1" in met])
@settings(max_examples=25, deadline=None)
@given(c=magnitudes, alpha=st.floats(0.01, 1e3), data=st.data())
def test_sparsity_rises_as_one_gets_ever_richer(name: str, c: Vector, alpha: float, data: st.DataObject) -> None:
    enough = 10 * float(c.sum())
    assert bill_gates(defined(name, c), c, data.draw(st.integers(0, c.size - 1)), enough, alpha)


@pytest.mark.parametrize("name", [name for name, met in MET.items() if "P2" in met])
@settings(max_examples=25, deadline=None)
@given(c=magnitudes)
def test_sparsity_rises_with_one_more_zero(name: str, c: Vector) -> None:
    assert babies(defined(name, c), c)


@pytest.mark.parametrize(("name", "criterion", "c", "more"), EXCEPTIONS)
def test_a_criterion_that_is_not_met_has_an_exception(
    name: str, criterion: str, c: list[float], more: tuple[Any, ...]
) -> None:
    s, vector = sparsity_of(name), np.array(c)
    assert np.isfinite(s(vector))
    further = [(beta, 1.0) for beta in (1, 10, 1000)] if criterion == "P1" else [()]
    assert not any(CRITERIA[criterion](s, vector, *more, *rest) for rest in further)


def test_every_measure_and_criterion_is_either_met_or_has_an_exception() -> None:
    assert {parse(name)[0].name for name in MET} == set(MEASURES)
    not_met = [(name, criterion) for name, met in MET.items() for criterion in CRITERIA if criterion not in met.split()]
    assert [(name, criterion) for name, criterion, _, _ in EXCEPTIONS] == not_met
