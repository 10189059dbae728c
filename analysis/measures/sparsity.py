"""Sparsity measures of a layer's weights: the sixteen of Hurley & Rickard, the share of exact zeros, and PQI.

    measures = parse("hoyer,pq-mean(p=0.5,q=2),gini")
    values = evaluate(measures, [weights])

Every measure is a function of the N magnitudes c = |w|; larger means sparser, except for H_S and H_S', which keep the
sign that their source prints. All but Gini and u_theta follow from N and from sums of functions of one magnitude, so
that one pass gives all of them. A measure that has no meaning for some weights has the value None and a reason, never
0, 1 or NaN.

Source, unless a measure names its own: Hurley & Rickard, Comparing Measures of Sparsity, IEEE Transactions on
Information Theory 55(10), 2009, Table I (arXiv 0811.4706).
"""

import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from numpy.typing import NDArray

from analysis.measures import ranks
from analysis.measures.formulas import (
    SQUARES,
    ZEROS,
    at_most,
    gaussian_entropy,
    hoyer,
    log_1_square,
    lp,
    nonzero,
    power_log,
    pq_mean,
    pq_terms,
    raw,
    shannon,
    tanh,
)
from analysis.measures.ranks import Undefined
from analysis.measures.sums import TOTAL, Blocks, Scan, Term, power, scan
from analysis.weights.quantisation import Scale
from study.errors import StudyError


@dataclass(frozen=True)
class Measure:
    """One measure with the values of its parameters.

    Attributes:
        formula: in the symbols of the module's docstring.
        needs: the terms whose sums it is a function of, given the parameters; None if it needs the magnitudes in order.
        value: (N, *sums, *parameters) -> float; without `needs` (sorted or binned, *parameters) -> (value, bound).
        parameters: names and values.
        limits: the condition on the parameters, in words; `valid` tests it.
        scale_free: whether w and 2 w have the same value.
    """

    name: str
    formula: str
    needs: Callable[..., tuple[Term, ...]] | None
    value: Callable[..., Any]
    parameters: tuple[tuple[str, float], ...] = ()
    limits: str = ""
    valid: Callable[..., bool] = lambda: True
    scale_free: bool = True

    def __str__(self) -> str:
        """The name with the value of every parameter, as in records: "hoyer", "pq-mean(p=1,q=2)"."""
        values = ",".join(f"{name}={repr(value).removesuffix('.0')}" for name, value in self.parameters)
        return f"{self.name}({values})" if values else self.name

    @property
    def terms(self) -> tuple[Term, ...]:
        """The sums that it needs."""
        return self.needs(*self.arguments) if self.needs else ()

    @property
    def arguments(self) -> tuple[float, ...]:
        """The values of the parameters."""
        return tuple(value for _, value in self.parameters)

    def lacks(self, scale: Scale) -> bool:
        """Whether it depends on what is missing of the scale of a matrix."""
        return self.terms != (ZEROS,) and (scale is Scale.UNKNOWN or (scale is Scale.RELATIVE and not self.scale_free))


@dataclass(frozen=True)
class Value:
    """A measure of some weights, or None and the `reason`; the true value is within `bound` of it, which is 0 if exact.

    "Exact" means up to the rounding of float64, about 1e-13 of the value.
    """

    value: float | None
    reason: str = ""
    bound: float = 0.0

    def cells(self) -> dict[str, float | str | None]:
        """The columns of a table; without a value there is no bound."""
        return {**vars(self), "bound": None if self.value is None else self.bound}


def evaluate(
    measures: Sequence[Measure], blocks: Blocks, threads: int | None = None, scale: Scale = Scale.KNOWN
) -> list[Value]:
    """The value of each of `measures` for the weights that `blocks` hold together.

    Args:
        measures: together they take one pass over the blocks, two if these are float64.
        blocks: real arrays of any shape, all of one dtype; `blocks[i]` may read from a file and is called from several
            threads. A matrix in memory is `[matrix]`.
        threads: number of threads (default: one a core); the values do not depend on it.
        scale: how far that of the weights is known; a measure that depends on what is missing has no value.
    """
    terms = [term for measure in measures for term in measure.terms]
    try:
        sums = scan(blocks, terms, any(measure.needs is None for measure in measures), threads)
    except Undefined as reason:
        return [Value(None, str(reason)) for _ in measures]
    return [Value(None, scale.value) if measure.lacks(scale) else _value(measure, sums) for measure in measures]


def of(measure: Measure, weights: NDArray[Any]) -> Value:
    """The value of one measure for one array in memory."""
    return evaluate([measure], [weights])[0]


def _value(measure: Measure, sums: Scan) -> Value:
    try:
        if measure.needs is None:
            value, bound = measure.value(sums.ordered, *measure.arguments)
            return Value(value, "", bound)
        value = measure.value(sums.n, *(sums.sums[term] for term in measure.terms), *measure.arguments)
    except Undefined as reason:
        return Value(None, str(reason))
    except (OverflowError, ZeroDivisionError):
        value = math.inf
    return Value(value + 0.0) if math.isfinite(value) else Value(None, "out of the range of float64")


def parse(text: str) -> list[Measure]:
    """Measures from comma-separated names in any case, as in "hoyer,-lp(p=0.3),gini"; "all" means every one.

    A parameter that is not given has its default; a measure that is named twice comes once.

    Raises:
        StudyError: an unknown name or parameter, or a value that is not allowed.
    """
    measures: dict[Measure, None] = {}
    for item in re.split(r",(?![^(]*\))", text):
        if item.strip().lower() == "all":
            measures.update(dict.fromkeys(MEASURES.values()))
        else:
            measures[_parsed(item.strip())] = None
    return list(measures)


def _parsed(item: str) -> Measure:
    name, parenthesis, rest = item.partition("(")
    measure = {known.lower(): measure for known, measure in MEASURES.items()}.get(name.strip().lower())
    if measure is None:
        raise StudyError(f"expected measures out of {', '.join(MEASURES)}, or all; found {item!r}")
    values = dict(measure.parameters)
    if parenthesis and not (values and rest.endswith(")")):
        expected = ",".join(f"{known}=..." for known in values)
        raise StudyError(
            f"expected {measure.name}{f'({expected})' if values else ' without parameters'}, found {item!r}"
        )
    for assignment in filter(None, rest.removesuffix(")").split(",")):
        parameter, _, number = (word.strip().lower() for word in assignment.partition("="))
        if parameter not in values:
            raise StudyError(f"expected {' or '.join(values)} for {measure.name}, found {assignment!r} in {item!r}")
        try:
            values[parameter] = float(number)
        except ValueError:
            raise StudyError(f"expected a number for {parameter} of {measure.name}, found {number!r}") from None
    if not (all(map(math.isfinite, values.values())) and measure.valid(*values.values())):
        raise StudyError(f"expected {measure.limits} for {measure.name}, found {item!r}")
    return replace(measure, parameters=tuple(values.items()))


def _pq(name: str, formula: str, value: Callable[..., float]) -> Measure:
    """A function of the ratio for p and q, by default Hoyer's: Hoyer = pqi(1,2) sqrt N / (sqrt N - 1)."""
    limits = "p <= 1 < q and p != 0"
    parameters = (("p", 1.0), ("q", 2.0))
    return Measure(name, formula, pq_terms, value, parameters, limits, lambda p, q: p <= 1 < q and p != 0)


_TABLE = (
    Measure("l0", "#{c = 0}", lambda: (ZEROS,), lambda n, zeros: zeros),
    Measure(
        "l0_eps",
        "#{c <= eps}",
        lambda eps: (raw(at_most, eps),),
        lambda n, small, eps: small,
        (("eps", 1e-3),),  # about 1/20 of a Linear layer's first weights; no threshold has a meaning of its own
        "eps > 0",
        lambda eps: eps > 0,
        scale_free=False,
    ),
    Measure("-l1", "-sum c", lambda: (raw(power, 1.0),), lambda n, total: -total, scale_free=False),
    Measure(
        "-lp",
        "-(sum c^p)^(1/p)",
        lambda p: (ZEROS, raw(power, p)),
        lp,
        (("p", 0.5),),  # the middle between counting (0) and -l1 (1)
        "0 < p < 1",
        lambda p: 0 < p < 1,
        scale_free=False,
    ),
    Measure("l2/l1", "sqrt(sum c^2) / sum c", lambda: (TOTAL, SQUARES), lambda n, a, b: math.sqrt(b) / nonzero(a)),
    Measure(
        "-tanh",
        "-sum tanh((a c)^b)",
        lambda a, b: (raw(tanh, a, b),),
        lambda n, total, a, b: -total,
        (("a", 1.0), ("b", 1.0)),  # the function without a change of scale or shape
        "a > 0 and b > 0",
        lambda a, b: a > 0 and b > 0,
        scale_free=False,
    ),
    Measure("-log", "-sum log(1 + c^2)", lambda: (raw(log_1_square),), lambda n, total: -total, scale_free=False),
    Measure(
        "kappa4",
        "sum c^4 / (sum c^2)^2",
        lambda: (Term(power, (4.0,)), SQUARES),
        lambda n, fourth, squares: fourth / nonzero(squares) ** 2,
    ),
    Measure(
        "u_theta",
        "1 - min_i (c_(i+ceil(theta N)-1) - c_(i)) / (c_(N) - c_(1)), ascending",
        None,
        ranks.u_theta,
        (("theta", 0.5),),  # half of the weights
        "0 < theta < 1",
        lambda theta: 0 < theta < 1,
    ),
    Measure(
        "-lp_-",
        "-sum c^p over c != 0",
        lambda p: (raw(power, p),),
        lambda n, total, p: -total,
        (("p", -0.5),),  # -lp's with the other sign
        "p < 0",
        lambda p: p < 0,
        scale_free=False,
    ),
    Measure(
        "H_G",
        "-sum log c^2",
        lambda: (ZEROS, raw(power_log, 0.0)),
        gaussian_entropy,
        scale_free=False,
    ),
    Measure("H_S", "-sum s log s^2, s = c^2 / sum c^2", lambda: (SQUARES, Term(power_log, (2.0,))), shannon),
    Measure("H_S'", "-sum c log c^2", lambda: (raw(power_log, 1.0),), lambda n, total: -total, scale_free=False),
    # Hoyer, Non-negative Matrix Factorization with Sparseness Constraints, JMLR 5 (2004), section 3.1.
    Measure("hoyer", "(sqrt N - sum c / sqrt(sum c^2)) / (sqrt N - 1)", lambda: (TOTAL, SQUARES), hoyer),
    _pq("pq-mean", "-(mean c^p)^(1/p) / (mean c^q)^(1/q)", pq_mean),
    Measure("gini", "1 - 2 sum_k (c_(k) / sum c) (N - k + 1/2) / N, ascending", None, ranks.gini),
    # Weights that a runtime could leave out without any loss. -0.0 counts; a tolerance would be arbitrary.
    Measure("exact_zeros", "#{c = 0} / N", lambda: (ZEROS,), lambda n, zeros: zeros / n),
    # Diao et al., Pruning Deep Neural Networks from a Sparsity Perspective, ICLR 2023.
    _pq("pqi", "1 - (mean c^p)^(1/p) / (mean c^q)^(1/q)", lambda *of: 1 + pq_mean(*of)),
)
MEASURES = {measure.name: measure for measure in _TABLE}
"""Every measure by its name, with the defaults of its parameters."""
ALWAYS = tuple(parse("hoyer,gini,pqi,exact_zeros"))
"""The measures reported for every layer."""


def chosen(text: str) -> list[Measure]:
    """`ALWAYS`, and those that `text` names, which may be empty; see `parse`."""
    return list(dict.fromkeys([*ALWAYS, *(parse(text) if text else ())]))
