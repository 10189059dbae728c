"""Sparsity measures: values worked out by hand, the invariances of their definitions, and where they are undefined."""

import math
import subprocess
import sys
import threading
import tracemalloc
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

from analysis.measures.ranks import SORTED
from analysis.measures.sparsity import ALWAYS, MEASURES, Measure, Value, evaluate, of, parse
from study.errors import StudyError
from tests.conftest import ROOT

Array = NDArray[Any]

ALL = list(MEASURES.values())
SCALE_FREE = [measure for measure in ALL if measure.scale_free]
HURLEY_RICKARD = "l0,l0_eps,-l1,-lp,l2/l1,-tanh,-log,kappa4,u_theta,-lp_-,H_G,H_S,H_S',hoyer,pq-mean,gini"
MANY = SORTED + 12_345

matrices = arrays(
    np.float64,
    st.tuples(st.integers(1, 6), st.integers(2, 6)),
    elements=st.one_of(st.just(0.0), st.floats(1e-3, 1e3), st.floats(-1e3, -1e-3)),
).filter(lambda w: bool(w.any()))


def value(text: str, weights: Any) -> float:
    result = of(parse(text)[0], np.asarray(weights))
    assert result.value is not None, result.reason
    return result.value


def assert_same(weights: Any, others: Any, measures: Sequence[Measure] = ALL, **how: Any) -> None:
    """Every measure has the same value, to 1e-12 of it, or is undefined for the same reason."""
    results = (evaluate(measures, it if isinstance(it, list) else [it], **how) for it in (weights, others))
    for measure, one, other in zip(measures, *results, strict=True):
        assert one.reason == other.reason, measure
        assert one.value == (other.value if other.value is None else pytest.approx(other.value, 1e-12, 1e-12)), measure


class Blocks(Sequence[Array]):
    """Blocks that count how often and by how many threads each is read."""

    def __init__(self, blocks: Sequence[Array]) -> None:
        self.blocks = blocks
        self.reads: Counter[int] = Counter()
        self.threads: set[int] = set()

    def __len__(self) -> int:
        return len(self.blocks)

    def __getitem__(self, i: Any) -> Any:
        self.reads[i] += 1
        self.threads.add(threading.get_ident())
        return self.blocks[i]


def cut(weights: Array, size: int) -> list[Array]:
    return [weights[i : i + size] for i in range(0, len(weights), size)]


@pytest.fixture(scope="module")
def normal() -> Array:
    """More weights than are sorted."""
    return np.random.default_rng(0).normal(0, 0.02, MANY).astype(np.float32)


class TestValues:
    BY_HAND: tuple[tuple[str, Any, float], ...] = (
        ("l0", [0, -0.0, 5, 0], 3),
        ("l0_eps(eps=3)", [1, -3, 5], 2),
        ("-l1", [1, -3, 5], -9),
        ("-lp(p=0.5)", [1, 4, 9], -36),  # (1 + 2 + 3)^2
        ("-lp(p=0.25)", [0, 1, 16], -81),  # (1 + 2)^4
        ("l2/l1", [1, 3, 5], math.sqrt(35) / 9),
        ("-tanh(a=2,b=1)", [0, 0.5], -math.tanh(1)),
        ("-tanh(a=2,b=2)", [0.5, 1], -math.tanh(1) - math.tanh(4)),
        ("-log", [1, 3, 5], -math.log(2 * 10 * 26)),
        ("kappa4", [1, 3, 5], 707 / 1225),  # (1 + 81 + 625) / 35^2
        ("u_theta", [1, 3, 5], 0.5),  # two neighbours are 2 apart, all 4
        ("u_theta(theta=0.75)", [10, 0, -1, 2], 0.8),  # 0..2 out of 0..10
        ("u_theta(theta=0.07)", np.arange(100.0), 1 - 6 / 99),  # 7 of 100: 0.07 * 100 is 7.000000000000001
        ("-lp_-(p=-1)", [1, 2, 4, 0], -1.75),
        ("H_G", [1, 3, 5], -math.log(225)),
        ("H_S", [1, 1], math.log(4)),  # -2 (1/2 log 1/4)
        ("H_S", [0, 0, 7], 0),
        ("H_S'", [1, math.e, 0], -2 * math.e),
        ("hoyer", [1, 3, 5], (math.sqrt(3) - 9 / math.sqrt(35)) / (math.sqrt(3) - 1)),
        ("hoyer", [1, 3, 5], 0.28792147604825374),
        ("hoyer", [0, 0, -3, 0], 1),
        ("hoyer", [2, -2, 2], 0),
        ("pq-mean", [1, 3, 5], -3 / math.sqrt(35 / 3)),
        ("pq-mean(p=0.5,q=4)", [0, 1, 4, 9], -2.25 / (6818 / 4) ** 0.25),  # (6 / 4)^2, 1 + 256 + 6561
        ("pq-mean(p=-1,q=2)", [1, 7], -1.75 / 5),  # 2 / (1 + 1/7), sqrt(50 / 2)
        ("gini", [0, 0, 0, 1], 0.75),
        ("gini", [5, -1, 3], 8 / 27),
        ("gini", [3, 3, 3], 0),
        ("exact_zeros", [[0.0, -0.0], [1e-300, 5.0]], 0.5),
        ("exact_zeros", [[0, 0], [0, 0]], 1),
        ("pqi", [1, 3, 5], 1 - 3 / math.sqrt(35 / 3)),
    )

    def test_every_measure_has_the_value_by_hand(self) -> None:
        assert {parse(text)[0].name for text, *_ in self.BY_HAND} == set(MEASURES)
        for measure, weights, by_hand in self.BY_HAND:
            assert value(measure, weights) == pytest.approx(by_hand, rel=1e-12, abs=1e-12), (measure, weights)

    def test_all_sixteen_of_the_paper_are_there(self) -> None:
        assert ",".join(list(MEASURES)[:16]) == HURLEY_RICKARD

    @given(matrices)
    def test_gini_is_half_the_relative_mean_difference_and_hoyer_is_pqi_stretched_to_one(self, weights: Array) -> None:
        c = np.abs(weights).ravel()
        by_pairs = np.abs(c[:, None] - c[None, :]).mean() / (2 * c.mean())
        assert value("gini", weights) == pytest.approx(by_pairs, abs=1e-12)
        root = math.sqrt(weights.size)
        assert value("hoyer", weights) == pytest.approx(value("pqi", weights) * root / (root - 1), abs=1e-12)


class TestInvariances:
    @settings(max_examples=40)
    @given(weights=matrices, seed=st.integers(0, 2**32 - 1), size=st.integers(1, 5))
    def test_signs_order_shape_and_blocks_change_nothing(self, weights: Array, seed: int, size: int) -> None:
        rng = np.random.default_rng(seed)
        assert_same(weights * rng.choice([-1.0, 1.0], weights.shape), weights)
        assert_same(weights.T, weights)
        assert_same(rng.permutation(weights.ravel()), weights)
        assert_same(cut(weights, size), weights)

    @settings(max_examples=40)
    @given(weights=matrices, factor=st.floats(1e-6, 1e6))
    def test_scale_changes_nothing_in_measures_without_scale(self, weights: Array, factor: float) -> None:
        assert_same(weights * factor, weights, SCALE_FREE)

    def test_scale_matters_to_the_others(self) -> None:
        weights = np.array([0.0005, 0.3, 0.9])
        for measure in set(ALL) - set(SCALE_FREE):
            assert of(measure, 3 * weights).value != pytest.approx(of(measure, weights).value), measure

    @pytest.mark.parametrize("size", [1000, 2**16, 300_001])
    def test_blocks_of_many_weights_change_nothing(self, normal: Array, size: int) -> None:
        assert_same(cut(normal, size), normal)

    @pytest.mark.parametrize("dtype", [np.float32, np.float64])
    def test_the_number_of_threads_changes_no_bit(self, normal: Array, dtype: Any) -> None:
        blocks = cut(normal.astype(dtype), 10_000)
        one = evaluate(ALL, blocks, threads=1)
        assert one == evaluate(ALL, blocks, threads=2) == evaluate(ALL, blocks, threads=5)


class TestNumbers:
    def test_sums_are_taken_in_float64_whatever_the_weights_are(self) -> None:
        for dtype in ("float16", "float32", "int8", "uint8", "int64", ml_dtypes.bfloat16, ml_dtypes.int4):
            weights = np.tile(np.array([1, 3, 5]).astype(dtype), 10_000)
            root, n = math.sqrt(30_000), 10_000
            hoyer = (root - 9 * n / math.sqrt(35 * n)) / (root - 1)
            assert value("hoyer", weights) == pytest.approx(hoyer, abs=1e-12), dtype
            assert value("gini", weights) == pytest.approx(8 / 27, abs=1e-12), dtype
            assert value("-l1", weights) == -90_000, dtype

    def test_the_magnitude_of_the_smallest_integer_is_positive(self) -> None:
        assert value("-l1", np.array([-128, 127], np.int8)) == -255

    def test_powers_neither_overflow_nor_vanish(self) -> None:
        weights = np.array([1.0, 2.0, 7.0, 4.0])
        for unit in (5e-324, 1e-320, 1e-200, 1e200, 1e307):
            assert_same(weights * unit, weights, SCALE_FREE)
        for unit in (2.0**-149, 2.0**125):
            assert_same(weights.astype(np.float32) * np.float32(unit), weights.astype(np.float32), SCALE_FREE)

    def test_a_weight_that_scaling_would_make_zero_is_not_an_exact_zero(self) -> None:
        assert value("exact_zeros", [1e300, 1e-300, 0, 0]) == 0.5
        assert value("l0", [1e300, 1e-300, 0, 0]) == 2

    @pytest.mark.parametrize(
        ("measure", "weights"),
        [
            ("pq-mean(p=1,q=100)", np.array([1e-30, 2e-30], np.float32)),  # all 100th powers vanish
            ("pq-mean(p=1,q=100)", np.array([1e30, 2e30], np.float32)),  # or overflow
            ("pq-mean(p=-20,q=2)", np.array([1e-30, 2e-30], np.float32)),
            ("pq-mean(p=0.01,q=2)", np.array([1e300, 1e-300])),  # no common scale, and c^0.01 is not small
            ("-lp(p=0.001)", np.array([1.0, 2.0, 3.0])),  # more than 3^1000
            ("-lp_-(p=-2)", np.array([1.0, 1e-200])),
            ("-log", np.array([1e200])),
            ("-l1", np.array([1e308, 1e308])),
        ],
    )
    def test_a_value_that_float64_cannot_hold_is_none(self, measure: str, weights: Array) -> None:
        result = of(parse(measure)[0], weights)
        assert result.value is None
        assert "range of float64" in result.reason


class TestUndefined:
    REASONS: tuple[tuple[str, list[float], str], ...] = (
        ("l2/l1,kappa4,u_theta,H_S,hoyer,pq-mean,pqi,gini", [0, 0], "all weights are zero"),
        ("u_theta,hoyer,gini", [7], "only one weight"),
        ("u_theta", [2, -2, 2], "all magnitudes are equal"),
        ("u_theta(theta=0.9)", [1, 2, 3], "ceil(theta N) = N"),
        ("H_G", [0, 1], "a weight is zero, and has no logarithm"),
        ("pq-mean(p=-1,q=2)", [0, 1], "a weight is zero, and p < 0"),
    )

    def test_a_measure_without_a_meaning_has_a_reason(self) -> None:
        for measures, weights, reason in self.REASONS:
            for measure in parse(measures):
                assert of(measure, np.array(weights, float)) == Value(None, reason), measure

    def test_no_weights_have_no_value(self) -> None:
        assert set(evaluate(ALL, [np.zeros((0, 4))])) == set(evaluate(ALL, [])) == {Value(None, "no weights")}

    @pytest.mark.parametrize("dtype", [np.float32, np.float64])
    def test_a_weight_that_is_not_finite_leaves_no_value(self, dtype: Any) -> None:
        for measure in ALL:  # each alone, since they share a pass
            for intruder in (math.nan, math.inf, -math.inf):
                expected = Value(None, "a weight is not finite")
                assert of(measure, np.array([0, 1, intruder], dtype)) == expected, (measure, intruder)

    @pytest.mark.parametrize("place", [0, MANY - 1])
    def test_a_weight_that_is_not_finite_is_noticed_among_many(self, normal: Array, place: int) -> None:
        weights = normal.copy()
        weights[place] = math.nan
        assert {it.reason for it in evaluate(ALWAYS, cut(weights, 2**16))} == {"a weight is not finite"}

    def test_all_zeros_have_a_value_where_the_formula_gives_one(self) -> None:
        by_hand = {"l0": 2, "l0_eps": 2, "exact_zeros": 1, "-l1": 0, "-lp": 0, "-log": 0, "-tanh": 0}
        texts = {name: str(value(name, [0.0, -0.0])) for name in by_hand}  # as texts, for -0.0 == 0.0
        assert texts == {name: str(float(expected)) for name, expected in by_hand.items()}


DRAWS: dict[str, Callable[[np.random.Generator], Array]] = {
    "normal": lambda rng: rng.normal(size=MANY),
    "uniform": lambda rng: rng.uniform(-0.05, 0.05, MANY),
    "Laplace": lambda rng: rng.laplace(size=MANY),
    "heavy-tailed": lambda rng: rng.standard_cauchy(MANY) ** 3,
    "mostly zeros": lambda rng: np.where(rng.random(MANY) < 0.95, 0, rng.normal(size=MANY)),
    "first zeros, then not": lambda rng: np.where(np.arange(MANY) > SORTED, rng.normal(size=MANY), 0),
    "first zeros, then nearly": lambda rng: np.where(np.arange(MANY) > SORTED, 1e-40 * rng.normal(size=MANY), 0),
    "constant": lambda rng: np.full(MANY, 1.237),
    "int8 times a scale": lambda rng: np.round(rng.normal(size=MANY) * 30) * 0.00173,
    "nearly constant": lambda rng: 1 + rng.normal(size=MANY) * 1e-6,
}


def sorted_gini(weights: Array) -> float:
    """Hurley & Rickard's formula as it is printed."""
    c = np.sort(np.abs(weights).astype(np.float64))
    n = c.size
    return float(1 - 2 * (c / c.sum() * (n - np.arange(1, n + 1) + 0.5) / n).sum())


def sorted_u(weights: Array, theta: float) -> float:
    c = np.sort(np.abs(weights).astype(np.float64))
    m = math.ceil(theta * c.size)
    return float(1 - (c[m - 1 :] - c[: c.size - m + 1]).min() / (c[-1] - c[0]))


class TestManyWeights:
    """Gini and u_theta from bins: a value and its bound."""

    @pytest.mark.parametrize("kind", DRAWS)
    @pytest.mark.parametrize("dtype", [np.float32, np.float64])
    def test_the_sorted_value_lies_within_the_bound(self, kind: str, dtype: Any) -> None:
        weights = DRAWS[kind](np.random.default_rng(0)).astype(dtype)
        gini, half, most = evaluate(parse("gini,u_theta,u_theta(theta=0.9)"), cut(weights, 2**18))
        assert gini.value is not None
        assert abs(gini.value - sorted_gini(weights)) <= gini.bound
        assert 0 < gini.bound < 5e-6
        if kind == "constant":
            assert half.reason == most.reason == "all magnitudes are equal"
            return
        for result, theta in ((half, 0.5), (most, 0.9)):
            assert result.value is not None
            assert abs(result.value - sorted_u(weights, theta)) <= result.bound
            assert result.bound < 0.004 or kind == "nearly constant"  # all in a few bins: the bound says so

    def test_up_to_so_many_weights_the_value_is_exact(self, normal: Array) -> None:
        result = of(MEASURES["gini"], normal[:SORTED])
        assert result.bound == 0
        assert result.value == pytest.approx(sorted_gini(normal[:SORTED]), abs=1e-12)

    def test_a_grid_lies_on_edges_of_bins_which_makes_the_bound_small(self) -> None:
        weights = DRAWS["int8 times a scale"](np.random.default_rng(0)).astype(np.float32)
        assert of(MEASURES["gini"], weights).bound < 2e-7


class TestReading:
    @pytest.mark.parametrize(("dtype", "most"), [(np.float32, 1), (np.float16, 1), (np.int8, 1), (np.float64, 2)])
    def test_every_block_is_read_once_or_twice(self, dtype: Any, most: int) -> None:
        blocks = Blocks(cut(np.ones(MANY + 2**18, dtype), 2**15))
        evaluate(ALL, blocks, threads=2)
        assert set(blocks.reads) == set(range(len(blocks)))
        assert max(blocks.reads.values()) == most

    def test_a_small_matrix_starts_no_thread(self) -> None:
        blocks = Blocks(cut(np.ones(1000), 10))
        evaluate(ALL, blocks)
        assert blocks.threads == {threading.get_ident()}

    def test_the_memory_does_not_grow_with_the_weights(self) -> None:
        one = np.random.default_rng(0).normal(size=2**18).astype(np.float32)
        peaks = []
        for count in (50, 200):  # 50 and 200 MiB
            tracemalloc.start()
            evaluate(ALWAYS, [one] * count, threads=2)
            peaks.append(tracemalloc.get_traced_memory()[1])
            tracemalloc.stop()
        assert peaks[1] < peaks[0] + 5 * 2**20 < 45 * 2**20

    def test_an_error_of_a_block_is_the_caller_s(self) -> None:
        class Torn(Blocks):
            def __getitem__(self, i: Any) -> Any:
                if i == 100:
                    raise StudyError("the file ends too early")
                return super().__getitem__(i)

        with pytest.raises(StudyError, match="ends too early"):
            evaluate(ALWAYS, Torn(cut(np.ones(MANY, np.float32), 8192)), threads=2)

    def test_the_module_needs_numpy_and_no_other_library(self) -> None:
        code = "import sys, analysis.measures.sparsity; print([m for m in sys.modules if '.' not in m and m[0] != '_'])"
        command = [sys.executable, "-c", code]
        modules = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
        assert "numpy" in modules
        assert not [name for name in ("onnx", "scipy", "pandas", "matplotlib", "torch") if f"'{name}'" in modules]


class TestParse:
    def test_parameters_hold_commas_of_their_own_and_have_defaults(self) -> None:
        texts = [str(measure) for measure in parse("hoyer, -lp(p=0.3),pq-mean( p=0.5, q=2),pqi(q=3),-tanh(b=2),l0_eps")]
        expected = ["hoyer", "-lp(p=0.3)", "pq-mean(p=0.5,q=2)", "pqi(p=1,q=3)", "-tanh(a=1,b=2)", "l0_eps(eps=0.001)"]
        assert texts == expected

    def test_case_does_not_matter_and_the_text_of_a_measure_is_read_back(self) -> None:
        assert parse("Hoyer,GINI,h_s',-LP(P=0.5)") == parse("hoyer,gini,H_S',-lp")
        assert [parse(str(measure)) for measure in ALL] == [[measure] for measure in ALL]

    def test_all_is_every_measure_and_repeats_are_dropped(self) -> None:
        others = [measure for measure in ALL if measure.name != "gini"]
        assert parse("gini,all,-lp(p=0.3),hoyer") == [MEASURES["gini"], *others, *parse("-lp(p=0.3)")]

    def test_four_measures_are_always_evaluated(self) -> None:
        assert [str(measure) for measure in ALWAYS] == ["hoyer", "gini", "pqi(p=1,q=2)", "exact_zeros"]

    def test_a_wrong_name_is_answered_with_the_right_ones(self) -> None:
        with pytest.raises(StudyError) as error:
            parse("hoyer,sparsity")
        assert all(name in str(error.value) for name in (*MEASURES, "'sparsity'"))
        assert "\n" not in str(error.value)

    @pytest.mark.parametrize(
        ("text", "message"),
        [
            ("", "found ''"),
            ("hoyer,", "found ''"),
            ("hoyer(p=1)", "hoyer without parameters"),
            ("-lp(q=1)", "expected p for -lp"),
            ("-lp(0.5)", "expected p for -lp"),
            ("-lp(p=half)", "expected a number for p"),
            ("-lp(p=0.5", r"-lp\(p=...\)"),
            ("-lp(p=1)", "0 < p < 1"),
            ("-lp(p=nan)", "0 < p < 1"),
            ("-lp_-(p=0.5)", "p < 0"),
            ("l0_eps(eps=0)", "eps > 0"),
            ("-tanh(a=-1)", "a > 0 and b > 0"),
            ("u_theta(theta=1)", "0 < theta < 1"),
            ("pq-mean(p=2)", "p <= 1 < q"),
            ("pq-mean(p=0)", "p != 0"),
            ("pqi(q=inf)", "p <= 1 < q"),
        ],
    )
    def test_a_wrong_parameter_is_refused_in_one_line(self, text: str, message: str) -> None:
        with pytest.raises(StudyError, match=message) as error:
            parse(text)
        assert "\n" not in str(error.value)
