"""What is drawn where in the pictures of the weights, read back from the figures, and the counts behind them."""

import io
import math
from itertools import combinations, product
from typing import Any

import numpy as np
import pandas as pd
import pytest
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle, StepPatch

from analysis.measures.histogram import BINS, histogram, largest_magnitude
from analysis.plots.histogram import histograms
from analysis.plots.sparsity import digits, sparsity
from analysis.plots.style import style
from analysis.tables.numbers import MINUS
from tests.conftest import DRAWN

STUDY = ("baseline", "l2-1e-4", "l2-1e-3", "l1-1e-4", "l1-1e-3", "gap")
REFERENCES = {"hoyer": {"uniform": 0.134, "normal": 0.202, "Laplace": 0.293}}


def row(
    model: str = "a", layer: str = "fc1", measure: str = "hoyer", value: Any = 0.5, seed: int = 0
) -> dict[str, Any]:
    return {"model": model, "seed": seed, "layer": layer, "measure": measure, "value": value, "reason": ""}


def bars_of(*rows: dict[str, Any], models: tuple[str, ...] = ("a",), references: Any = None) -> Any:
    return sparsity(pd.DataFrame(rows), models, references)


def bars(axis: Axes) -> list[Any]:
    """Where each standing bar is and how high."""
    return [(it.get_x() + it.get_width() / 2, it.get_height()) for it in axis.patches if isinstance(it, Rectangle)]


def texts(axis: Axes) -> list[str]:
    return [text.get_text() for text in axis.texts if text.get_text()]


def legend(figure: Figure) -> list[str]:
    return [text.get_text() for text in figure.legends[0].get_texts()]


def overlaps(figure: Figure) -> list[tuple[str, str]]:
    """The pairs of texts of a panel that cover one another once they are drawn."""
    canvas: Any = FigureCanvasAgg(figure)
    canvas.draw()
    found = []
    for axis in figure.axes:
        shown = [it for it in [*axis.texts, *axis.get_xticklabels(), *axis.get_yticklabels()] if it.get_text()]
        boxes = [(it.get_text(), it.get_window_extent(canvas.get_renderer())) for it in shown]
        found += [(one, other) for (one, a), (other, b) in combinations(boxes, 2) if a.shrunk(0.9, 0.9).overlaps(b)]
    return found


def study(*measures: str) -> pd.DataFrame:
    """Five models of three layers and three runs, with values all over the range."""
    places = product(STUDY[:5], range(3), ("fc1", "fc2", "fc3"), measures)
    values = np.random.default_rng(0).random(5 * 3 * 3 * len(measures))
    return pd.DataFrame([row(m, layer, it, v, s) for (m, s, layer, it), v in zip(places, values, strict=True)])


def histograms_of(rows: list[dict[str, Any]]) -> Any:
    return histograms(pd.DataFrame(rows))


def weights(layer: str, values: Any, model: str = "a", seed: int = 0) -> list[dict[str, Any]]:
    """The rows of a layer's histogram."""
    return [{"model": model, "seed": seed, "layer": layer, **it} for it in histogram([np.asarray(values)]).rows()]


class TestSparsity:
    def test_a_panel_a_measure_a_group_a_layer_a_bar_a_model_and_a_point_a_run(self) -> None:
        rows = [
            row(m, layer, seed=s, value=v + s / 10)
            for s in (0, 1)
            for m, layer, v in (("a", "fc1", 0.1), ("b", "fc1", 0.2), ("a", "fc2", 0.3), ("b", "fc2", 0.4))
        ]
        figure = bars_of(*rows, row(measure="gini"), models=("a", "b"))
        hoyer, gini = figure.axes
        assert [axis.get_title() for axis in figure.axes] == ["Hoyer", "Gini"]
        assert sorted(bars(hoyer)) == [
            (pytest.approx(-0.2), pytest.approx(0.15)),  # the mean of 0.1 and 0.2
            (pytest.approx(0.2), pytest.approx(0.25)),
            (pytest.approx(0.8), pytest.approx(0.35)),
            (pytest.approx(1.2), pytest.approx(0.45)),
        ]
        assert [it.get_text() for it in hoyer.get_xticklabels()] == ["fc1", "fc2"]
        points = [sorted(line.get_ydata()) for line in hoyer.lines if line.get_marker() == "o"]
        assert points == [pytest.approx([v, v + 0.1]) for v in (0.1, 0.3, 0.2, 0.4)]
        assert texts(hoyer) == ["0.15", "0.35", "0.25", "0.45"]
        assert legend(figure) == ["a", "b"]
        assert bars(gini) == [(pytest.approx(-0.2), 0.5)]

    @pytest.mark.parametrize("measure", ["hoyer", "gini", "pqi(p=1,q=2)", "exact_zeros", "u_theta(theta=0.5)"])
    def test_a_measure_between_0_and_1_has_that_axis_however_small_its_values(self, measure: str) -> None:
        (axis,) = bars_of(row(measure=measure, value=0.02)).axes
        assert axis.get_ylim() == (0, pytest.approx(1, abs=0.05))
        assert axis.get_yticks().tolist() == [0, 0.2, 0.4, 0.6, 0.8, 1]

    @pytest.mark.parametrize("measure", ["kappa4", "l2/l1", "l0", "H_S'"])
    def test_any_other_measure_has_an_axis_of_its_values(self, measure: str) -> None:
        (axis,) = bars_of(row(measure=measure, value=6.25e-5)).axes
        low, high = axis.get_ylim()
        assert low == 0
        assert 6.25e-5 < high < 1e-4
        assert texts(axis) == [f"6.25e{MINUS}5"]

    def test_the_bars_of_a_negative_measure_go_down_with_their_texts_below_them(self) -> None:
        (axis,) = bars_of(row(measure="-l1", value=-2930.4), row(measure="-l1", layer="fc2", value=-12.34)).axes
        assert [height for _, height in bars(axis)] == [-2930.4, -12.34]
        low, high = axis.get_ylim()
        assert low < -3000
        assert high == 0
        assert texts(axis) == [f"{MINUS}2,930", f"{MINUS}12.3"]
        assert [text.get_verticalalignment() for text in axis.texts if text.get_text()] == ["top", "top"]

    def test_only_0_and_1_themselves_are_called_so(self) -> None:
        values = [0.0, 0.004, 0.996, 1.0]
        (axis,) = bars_of(*(row(layer=f"fc{i}", value=value) for i, value in enumerate(values))).axes
        assert texts(axis) == ["0", "<0.01", ">0.99", "1"]

    def test_references_are_lines_with_a_name_in_the_legend_and_a_value_above_their_panel(self) -> None:
        figure = bars_of(row(), row(measure="-l1", value=-3.0), references=REFERENCES)
        hoyer, other = figure.axes
        assert [line.get_ydata()[0] for line in hoyer.lines] == [0.134, 0.202, 0.293]
        assert len({str(line.get_linestyle()) + str(line._dash_pattern) for line in hoyer.lines}) == 3
        assert texts(hoyer)[0] == "uniform 0.134, normal 0.202, Laplace 0.293"
        assert legend(figure) == ["a", "uniform (as initialised)", "normal", "Laplace"]
        assert texts(other) == [f"{MINUS}3"]

    def test_what_has_no_bar_says_why_in_its_place(self) -> None:
        figure = bars_of(
            row("a", "fc1", value=None), row("a", "fc2"), row("b", "fc2", value=math.inf), models=("a", "b", "gap")
        )
        (axis,) = figure.axes
        assert len(bars(axis)) == 1
        said = [text for text in texts(axis) if ":" in text]
        expected = ["a: undefined", "b: no such layer", "b: undefined", "gap: no FC layer", "gap: no FC layer"]
        assert said == expected
        assert legend(figure) == ["a", "b"]

    def test_the_mean_is_of_the_runs_that_have_a_value(self) -> None:
        (axis,) = bars_of(row(value=0.2), row(value=None, seed=1), row(value=0.4, seed=2)).axes
        assert bars(axis) == [(0, pytest.approx(0.3))]

    def test_a_measure_that_no_layer_has_is_an_empty_panel(self) -> None:
        (axis,) = bars_of(row(measure="H_G", value=None)).axes
        assert bars(axis) == []
        assert texts(axis) == ["undefined"]

    def test_without_layers_it_says_so(self) -> None:
        figure = sparsity(pd.DataFrame(columns=["model", "seed", "layer", "measure", "value"]), STUDY)
        assert [text.get_text() for text in figure.texts] == ["no model has a fully-connected layer"]
        assert figure.axes == []

    def test_the_texts_of_the_whole_study_neither_overlap_nor_are_too_small(self) -> None:
        measures = ("hoyer", "gini", "pqi(p=1,q=2)", "exact_zeros")
        with style():
            figure: Any = sparsity(study(*measures), STUDY, REFERENCES)
            assert overlaps(figure) == []
        assert figure.get_figwidth() == 7.5
        assert len(figure.axes) == 4
        assert all(text.get_fontsize() >= 8 for axis in figure.axes for text in axis.texts)


class TestSparsityOfLargeFiles:
    def rows(self, n: int, *measures: str) -> list[dict[str, Any]]:
        return [row("m.onnx", f"model.layers.{i}.mlp.up_proj", it, (i + 1) / n) for i in range(n) for it in measures]

    def test_bars_lie_where_standing_ones_have_no_room(self) -> None:
        with style():
            figure = bars_of(*self.rows(40, "hoyer", "kappa4"), models=("m.onnx",), references=REFERENCES)
            assert overlaps(figure) == []
        axis = figure.axes[0]
        lengths = [it.get_width() for it in axis.patches if isinstance(it, Rectangle)]
        assert lengths == pytest.approx([(i + 1) / 40 for i in range(40)])
        names = [it.get_text() for it in axis.get_yticklabels()]
        assert names == [f"model.layers.{i}.mlp.up_proj" for i in range(40)]
        assert axis.yaxis_inverted(), "the first layer is on top"
        assert [line.get_xdata()[0] for line in axis.lines] == [0.134, 0.202, 0.293]

    def test_of_a_long_name_the_end_is_kept_where_layers_differ(self) -> None:
        (axis,) = bars_of(row(layer="x" * 60 + ".fc1"), row(layer="x" * 60 + ".fc2")).axes
        names = [it.get_text() for it in axis.get_yticklabels()]
        assert names == ["…" + "x" * 31 + ".fc1", "…" + "x" * 31 + ".fc2"]

    def test_what_is_left_out_is_counted(self) -> None:
        figure = bars_of(*self.rows(150, "hoyer"), models=("m.onnx",))
        assert len(figure.axes[0].patches) == 120
        assert figure.get_supxlabel() == "30 more layers are in the table"
        assert bars_of(*self.rows(120, "hoyer"), models=("m.onnx",)).get_supxlabel() == ""


class TestHistogram:
    def test_bins_are_symmetric_and_zeros_apart(self) -> None:
        found = histogram([np.array([[-3.05, 0.0, 0.001], [-0.001, -0.0, 0.11]]), np.array([3.05])])
        assert BINS == 61  # so that a bin is 0.1 wide: the middle one from -0.05 to 0.05
        assert found.edges == pytest.approx(np.arange(-3.05, 3.06, 0.1))
        assert {int(k): int(found.counts[k]) for k in np.flatnonzero(found.counts)} == {0: 1, 30: 2, 31: 1, 60: 1}
        assert (found.zeros, found.not_finite) == (2, 0)

    def test_w_and_minus_w_are_in_mirrored_bins_even_on_an_edge(self) -> None:
        values = np.arange(1, 62) / 61  # edges are odd multiples of 1/61
        assert histogram([values]).counts.tolist() == histogram([-values]).counts.tolist()[::-1]

    def test_counts_are_those_of_numpy_whatever_the_blocks(self) -> None:
        values = np.random.default_rng(0).normal(size=9_999).astype(np.float32)
        found = histogram([values[:10].reshape(2, 5), values[10:10], values[10:]])
        largest = float(np.abs(values).max())
        by_numpy, edges = np.histogram(values.astype(float), bins=61, range=(-largest, largest))
        assert found.counts.tolist() == by_numpy.tolist()
        assert found.edges == pytest.approx(edges)

    def test_a_common_reach_gives_common_bins(self) -> None:
        one, other = np.array([0.5]), np.array([2.0, -1.0])
        reach = max(largest_magnitude([one]), largest_magnitude([other]))
        assert reach == 2
        assert histogram([one], reach).edges.tolist() == histogram([other], reach).edges.tolist()
        with pytest.raises(ValueError, match="magnitude 2"):
            histogram([other], 0.5)

    @pytest.mark.parametrize("largest", [5e-324, 1e-310, 1e-45, 1.7e308])
    def test_the_smallest_and_the_largest_numbers_have_bins(self, largest: float) -> None:
        found = histogram([np.array([largest, -largest])])
        assert (found.counts[0], found.counts[-1], found.counts.sum()) == (1, 1, 2)
        assert np.isfinite(found.edges).all()

    def test_weights_that_are_not_finite_are_counted_and_no_more(self) -> None:
        found = histogram([np.array([math.nan, math.inf, -math.inf, 1.0, 0.0])])
        assert (found.counts.sum(), found.zeros, found.not_finite) == (1, 1, 3)
        assert found.edges[-1] == 1
        assert list(found.rows())[-1] == {"low": None, "high": None, "count": 3}

    @pytest.mark.parametrize("values", [[], [0.0, 0.0], [math.nan]])
    def test_without_weights_other_than_zero_there_are_no_bins(self, values: list[float]) -> None:
        found = histogram([np.array(values)])
        assert (found.edges.size, found.counts.size) == (0, 0)
        assert next(found.rows()) == {"low": 0, "high": 0, "count": values.count(0)}

    def test_rows_add_up_to_the_number_of_weights(self) -> None:
        rows = list(histogram([np.array([0.0, 1.0, -2.0, math.nan])]).rows())
        assert len(rows) == 61 + 2
        assert sum(it["count"] for it in rows) == 4


class TestHistograms:
    def test_a_panel_a_layer_of_a_model_and_a_line_a_run(self) -> None:
        rows = [
            it
            for model, seed, layer in product("ab", (0, 1), ("fc1", "fc2"))
            for it in weights(layer, [1.0, 0.01, -0.01], model, seed)
        ]
        figure = histograms_of(rows)
        assert [axis.get_title() for axis in figure.axes] == ["a, fc1", "a, fc2", "b, fc1", "b, fc2"]
        lines = [it for it in figure.axes[0].patches if isinstance(it, StepPatch) and not it.get_fill()]
        assert [line.get_data()[0][[30, 60]].tolist() for line in lines] == [[2, 1], [2, 1]]
        assert figure.axes[0].get_yscale() == "log"
        assert legend(figure) == ["weights not 0, a line a run", "weights exactly 0, mean of the runs"]

    def test_exact_zeros_are_a_needle_and_a_share(self) -> None:
        rows = [*weights("fc1", [0.0, 0.0, 0.001, 1.0]), *weights("fc1", [0.0, 0.0, 0.0, 1.0], seed=1)]
        (axis,) = histograms_of(rows).axes
        (needle,) = axis.lines
        assert list(needle.get_xdata()) == [0, 0]
        assert needle.get_ydata()[1] == 2.5
        assert texts(axis) == ["50.0 to 75.0 % exactly 0"]

    def test_a_file_of_ones_own_needs_no_seed(self) -> None:
        rows = [{**it, "seed": None} for it in weights("fc1", [0.0, 1.0])]
        figure = histograms(read_back(pd.DataFrame(rows)))
        assert texts(figure.axes[0]) == ["50.0 % exactly 0"]
        assert legend(figure) == ["weights not 0", "weights exactly 0"]

    def test_small_weights_are_no_zeros(self) -> None:
        (axis,) = histograms_of(weights("fc1", [1e-30, 1.0])).axes
        assert list(axis.lines) == []
        assert texts(axis) == ["none exactly 0"]

    def test_one_zero_in_many_weights_is_not_0_percent(self) -> None:
        (axis,) = histograms_of(weights("fc1", [0.0] + [1.0] * 99_999)).axes
        assert texts(axis) == ["<0.1 % exactly 0"]

    def test_the_panels_of_a_layer_have_the_same_axes(self) -> None:
        rows = [*weights("fc1", [3.0], "a"), *weights("fc2", [9.0], "a"), *weights("fc1", [1.0] * 50, "b")]
        figure = histograms_of(rows)
        (a, other, b) = figure.axes
        assert a.get_xlim() == b.get_xlim() == pytest.approx((-3.09, 3.09))
        assert a.get_ylim() == b.get_ylim() == pytest.approx((0.7, 100))
        assert other.get_xlim() == pytest.approx((-9.27, 9.27))

    def test_a_model_has_a_row_and_a_layer_a_column_whichever_comes_first(self) -> None:
        rows = [*weights("fc1", [1.0], "a"), *weights("fc3", [1.0], "a")]
        rows += [it for layer in ("fc1", "fc2", "fc3") for it in weights(layer, [1.0], "b")]
        places = {
            axis.get_title(): (axis.get_subplotspec().rowspan.start, axis.get_subplotspec().colspan.start)
            for axis in histograms_of(rows).axes
        }
        assert places == {"a, fc1": (0, 0), "a, fc3": (0, 1), "b, fc1": (1, 0), "b, fc3": (1, 1), "b, fc2": (1, 2)}

    def test_weights_that_are_all_zero_or_not_finite_are_told(self) -> None:
        rows = [*weights("fc1", [0.0, 0.0]), *weights("fc2", [math.nan, 1.0, math.inf])]
        zero, lost = histograms_of(rows).axes
        assert texts(zero) == ["all exactly 0"]
        assert texts(lost) == ["none exactly 0, 2 not finite"]

    def test_of_a_hundred_layers_24_are_drawn_and_the_others_counted(self) -> None:
        rows = [it for i in range(100) for it in weights(f"model.layers.{i}.mlp.up_proj", [1.0, 0.0])]
        figure = histograms_of(rows)
        assert len(figure.axes) == 24
        assert figure.get_supxlabel() == "weight; 76 more layers are in the table"

    def test_without_layers_it_says_so(self) -> None:
        figure = histograms(pd.DataFrame(columns=["model", "seed", "layer", "low", "high", "count"]))
        assert [text.get_text() for text in figure.texts] == ["no model has a fully-connected layer"]


def read_back(frame: pd.DataFrame) -> pd.DataFrame:
    """The frame as the picture gets it: from its CSV file."""
    return pd.read_csv(io.StringIO(frame.to_csv(index=False)), keep_default_na=False, na_values=[""])


@pytest.mark.parametrize("name", ["sparsity", "histograms"])
def test_the_same_table_gives_the_same_bytes(name: str) -> None:
    frame = study("hoyer", "-l1") if name == "sparsity" else pd.DataFrame(weights("fc1", [0.0, 1.0, 2.0, math.nan]))

    def draw(table: pd.DataFrame) -> dict[str, bytes]:
        return DRAWN(lambda: sparsity(table, STUDY, REFERENCES) if name == "sparsity" else histograms(table))

    first = draw(read_back(frame))
    assert first == draw(read_back(frame))
    assert first[".png"].startswith(b"\x89PNG")
    assert b"<svg" in first[".svg"]


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0"),
        (0.13397, "0.134"),
        (12.0, "12"),
        (2934.2, "2,930"),
        (99_949, "99,900"),
        (123_456, "1.23e5"),
        (-0.000_062_5, f"{MINUS}6.25e{MINUS}5"),
        (9.999e-4, "1e-3".replace("-", MINUS)),
    ],
)
def test_numbers_have_three_digits_in_few_characters(value: float, text: str) -> None:
    assert digits(value) == text
