"""The pictures of the weights, read back from their axes."""

import io
import math
from itertools import product
from typing import Any

import numpy as np
import pandas as pd
import pytest
from matplotlib.patches import StepPatch

from analysis.measures.histogram import histogram
from analysis.plots.histogram import histograms
from analysis.plots.sparsity import digits, sparsity
from analysis.tables.numbers import MINUS
from study.pictures import style
from tests.analysis.plots.reading import bars, legend, overlaps, rows, texts
from tests.conftest import DRAWN

STUDY = ("baseline", "l2-1e-4", "l2-1e-3", "l1-1e-4", "l1-1e-3", "gap")
REFERENCES = {"hoyer": {"uniform": 0.134, "normal": 0.202, "Laplace": 0.293}}


def row(
    model: str = "a", layer: str = "fc1", measure: str = "hoyer", value: Any = 0.5, seed: int = 0
) -> dict[str, Any]:
    return {"model": model, "seed": seed, "layer": layer, "measure": measure, "value": value, "reason": ""}


def draw(*rows: dict[str, Any], models: tuple[str, ...] = ("a",), references: Any = None) -> Any:
    return sparsity(pd.DataFrame(rows), models, references)


def study(*measures: str) -> pd.DataFrame:
    """Five models of three layers and three runs, with values all over the range."""
    keys = product(STUDY[:5], range(3), ("fc1", "fc2", "fc3"), measures)
    values = np.random.default_rng(0).random(5 * 3 * 3 * len(measures))
    return pd.DataFrame([row(m, layer, it, v, s) for (m, s, layer, it), v in zip(keys, values, strict=True)])


def weights(layer: str, values: Any, model: str = "a", seed: int = 0) -> list[dict[str, Any]]:
    """The rows of a layer's histogram."""
    return [{"model": model, "seed": seed, "layer": layer, **it} for it in histogram([np.asarray(values)]).rows()]


def draw_histograms(*layers: list[dict[str, Any]]) -> Any:
    return histograms(pd.DataFrame([row for rows in layers for row in rows]))


def titles(figure: Any) -> list[tuple[str, str]]:
    """The layer of each panel, and how many of its weights are exactly zero."""
    return [tuple(axis.get_title().split("\n")) for axis in figure.axes]


class TestSparsity:
    def test_a_panel_a_measure_a_row_a_layer_a_bar_a_model_and_a_point_a_run(self) -> None:
        layers = (("a", "fc1", 0.1), ("b", "fc1", 0.2), ("a", "fc2", 0.3), ("b", "fc2", 0.4))
        figure = draw(
            *(row(m, layer, seed=s, value=v + s / 10) for s in (0, 1) for m, layer, v in layers),
            row(measure="gini"),
            models=("a", "b"),
        )
        hoyer, gini = figure.axes
        assert [axis.get_title() for axis in figure.axes] == ["Hoyer", "Gini"]
        middles, means = zip(*bars(hoyer), strict=True)
        assert middles == pytest.approx([-0.215, 0.785, 0.215, 1.215])
        assert means == pytest.approx([0.15, 0.35, 0.25, 0.45])  # 0.15 is the mean of 0.1 and 0.2
        assert rows(hoyer) == ["fc1", "fc2"]
        assert hoyer.yaxis_inverted(), "the first layer is on top"
        points = [sorted(line.get_xdata()) for line in hoyer.lines if line.get_marker() == "o"]
        assert points == [pytest.approx([v, v + 0.1]) for v in (0.1, 0.3, 0.2, 0.4)]
        assert texts(hoyer) == ["0.15", "0.35", "0.25", "0.45"]
        assert legend(figure) == ["a", "b"]
        assert [length for _, length in bars(gini)] == [0.5]

    def test_a_measure_between_0_and_1_has_that_axis_however_small_its_values(self) -> None:
        measures = ("hoyer", "gini", "pqi(p=1,q=2)", "exact_zeros", "u_theta(theta=0.5)")
        for axis in draw(*(row(measure=measure, value=0.02) for measure in measures)).axes:
            assert axis.get_xlim() == (0, pytest.approx(1.02))
            assert axis.get_xticks().tolist() == [0, 0.5, 1]

    def test_any_other_measure_has_an_axis_of_its_values(self) -> None:
        for axis in draw(*(row(measure=measure, value=6.25e-5) for measure in ("kappa4", "l2/l1", "l0", "H_S'"))).axes:
            low, high = axis.get_xlim()
            assert low == 0
            assert 6.25e-5 < high < 1.5e-4
            assert texts(axis) == [f"6.25e{MINUS}5"]

    def test_the_bars_of_a_negative_measure_go_left_with_their_texts_beyond_them(self) -> None:
        (axis,) = draw(row(measure="-l1", value=-2930.4), row(measure="-l1", layer="fc2", value=-12.34)).axes
        assert [length for _, length in bars(axis)] == [-2930.4, -12.34]
        low, high = axis.get_xlim()
        assert low < -3000
        assert high == 0
        assert texts(axis) == [f"{MINUS}2,930", f"{MINUS}12.3"]
        assert {text.get_horizontalalignment() for text in axis.texts} == {"right"}

    def test_only_0_and_1_themselves_are_written_so(self) -> None:
        (axis,) = draw(*(row(layer=f"fc{i}", value=value) for i, value in enumerate([0.0, 0.004, 0.996, 1.0]))).axes
        assert texts(axis) == ["0", "<0.01", ">0.99", "1"]

    def test_references_are_lines_with_a_name_in_the_legend_and_a_value_below_their_panel(self) -> None:
        figure = draw(row(), row(measure="-l1", value=-3.0), references=REFERENCES)
        hoyer, other = figure.axes
        assert [line.get_xdata()[0] for line in hoyer.lines] == [0.134, 0.202, 0.293]
        assert len({str(line._dash_pattern) for line in hoyer.lines}) == 3
        assert hoyer.get_xlabel() == "uniform 0.134, normal 0.202, Laplace 0.293"
        assert legend(figure) == ["a", "uniform (as initialised)", "normal", "Laplace"]
        assert other.get_xlabel() == ""

    def test_a_missing_bar_has_its_reason_in_its_place(self) -> None:
        figure = draw(
            row("a", "fc1", value=None), row("a", "fc2"), row("b", "fc2", value=math.inf), models=("a", "b", "gap")
        )
        (axis,) = figure.axes
        assert len(bars(axis)) == 1
        expected = ["a: undefined", "b: no such layer", "b: undefined", "gap: no FC layer", "gap: no FC layer"]
        assert [text for text in texts(axis) if ":" in text] == expected
        assert legend(figure) == ["a", "b"]

    def test_layers_of_different_networks_have_bars_of_their_own_models_alone(self) -> None:
        """Two of three layers are of one model; both models have the other one."""
        layers = (("a", "fc", 0.1), ("a", "head", 0.2), ("b", "head", 0.3), ("b", "mix", 0.4))
        (axis,) = draw(
            *(row(model, layer, value=value) for model, layer, value in layers), models=("a", "b", "gap")
        ).axes
        assert not any(":" in text for text in texts(axis))
        middles = dict(zip([0.1, 0.2, 0.3, 0.4], sorted(middle for middle, _ in bars(axis)), strict=True))
        assert middles == pytest.approx({0.1: 0, 0.2: 1 - 0.215, 0.3: 1 + 0.215, 0.4: 2})

    def test_the_mean_is_of_the_runs_that_have_a_value_and_without_any_there_is_no_bar(self) -> None:
        runs = (row(value=0.2), row(value=None, seed=1), row(value=0.4, seed=2), row(measure="H_G", value=None))
        hoyer, undefined = draw(*runs).axes
        assert bars(hoyer) == [(0, pytest.approx(0.3))]
        assert (bars(undefined), texts(undefined)) == ([], ["undefined"])

    def test_the_texts_of_a_whole_study_and_of_forty_layers_do_not_overlap(self) -> None:
        with style():
            whole: Any = sparsity(study("hoyer", "gini", "pqi(p=1,q=2)", "exact_zeros"), STUDY, REFERENCES)
            names = [f"model.layers.{i}.mlp.up_proj" for i in range(40)]
            layers = [row("m", name, it, (i + 1) / 40) for i, name in enumerate(names) for it in ("hoyer", "kappa4")]
            long = draw(*layers, models=("m",), references=REFERENCES)
            assert overlaps(whole) == overlaps(long) == []
        assert whole.get_figwidth() == 7.5
        assert all(text.get_fontsize() >= 8 for axis in whole.axes for text in axis.texts)
        assert rows(long.axes[0]) == names

    def test_a_long_name_keeps_its_end(self) -> None:
        (axis,) = draw(row(layer="x" * 60 + ".fc1"), row(layer="x" * 60 + ".fc2")).axes
        assert rows(axis) == ["…" + "x" * 31 + ".fc1", "…" + "x" * 31 + ".fc2"]

    def test_of_more_layers_than_fit_the_least_and_the_most_sparse_are_drawn(self) -> None:
        values = {f"fc{i}": i / 300 if i % 2 else 1 - i / 300 for i in range(300)}
        figure = draw(*(row(layer=layer, value=value) for layer, value in values.items()))
        order = sorted(values, key=lambda layer: values[layer])
        assert rows(figure.axes[0]) == [layer for layer in values if layer in {*order[:20], *order[-20:]}]
        assert figure.get_supxlabel() == "the 20 least and 20 most sparse of 300 layers by Hoyer; the table has all"
        assert figure.get_figheight() < 12
        assert draw(*(row(layer=f"fc{i}") for i in range(40))).get_supxlabel() == ""


class TestHistograms:
    def test_a_panel_a_layer_of_a_model_and_a_line_a_run(self) -> None:
        keys = product("ab", (0, 1), ("fc1", "fc2"))
        figure = draw_histograms(*(weights(layer, [1.0, 0.01, -0.01], model, seed) for model, seed, layer in keys))
        assert [name for name, _ in titles(figure)] == ["a, fc1", "a, fc2", "b, fc1", "b, fc2"]
        lines = [it for it in figure.axes[0].patches if isinstance(it, StepPatch) and not it.get_fill()]
        assert [line.get_data()[0][[30, 60]].tolist() for line in lines] == [[2, 1], [2, 1]]
        assert figure.axes[0].get_yscale() == "log"
        assert legend(figure) == ["weights not 0, one line a run", "weights exactly 0, mean of the runs"]

    def test_exact_zeros_are_a_needle_and_a_share_and_small_weights_are_not(self) -> None:
        runs = [weights("fc1", [0.0, 0.0, 0.001, 1.0]), weights("fc1", [0.0, 0.0, 0.0, 1.0], seed=1)]
        figure = draw_histograms(*runs, weights("fc2", [1e-30, 1.0]))
        (needle,) = figure.axes[0].lines
        assert needle.get_xydata()[:, 0].tolist() == [0, 0]
        assert needle.get_ydata()[1] == 2.5
        assert list(figure.axes[1].lines) == []
        assert titles(figure) == [("fc1", "50.0 to 75.0 % exactly 0"), ("fc2", "none exactly 0")]

    def test_a_share_of_zeros_is_rounded_to_0_or_100_percent_only_if_it_is_that(self) -> None:
        layers = {"few": [0.0] + [1.0] * 9_999, "all": [0.0, 0.0], "odd": [math.nan, 1.0, math.inf]}
        figure = draw_histograms(*(weights(name, values) for name, values in layers.items()))
        expected = ["<0.1 % exactly 0", "all exactly 0", "none exactly 0, 2 not finite"]
        assert [text for _, text in titles(figure)] == expected

    def test_a_file_without_seeds_is_drawn(self) -> None:
        frame = pd.DataFrame([{**it, "seed": None} for it in weights("fc1", [0.0, 1.0])])
        figure = histograms(read_back(frame))
        assert titles(figure) == [("fc1", "50.0 % exactly 0")]
        assert legend(figure) == ["weights not 0", "weights exactly 0"]

    def test_the_panels_of_a_layer_share_their_axes(self) -> None:
        layers = [weights("fc1", [3.0], "a"), weights("fc2", [9.0], "a"), weights("fc1", [1.0] * 50, "b")]
        a, other, b = draw_histograms(*layers).axes
        assert a.get_xlim() == b.get_xlim() == pytest.approx((-3.09, 3.09))
        assert a.get_ylim() == b.get_ylim() == pytest.approx((0.7, 100))
        assert other.get_xlim() == pytest.approx((-9.27, 9.27))

    def test_a_model_has_a_row_and_a_layer_a_column_whichever_comes_first(self) -> None:
        keys = [("a", "fc1"), ("a", "fc3"), ("b", "fc1"), ("b", "fc2"), ("b", "fc3")]
        figure = draw_histograms(*(weights(layer, [1.0], model) for model, layer in keys))
        spans = [axis.get_subplotspec() for axis in figure.axes]
        places = [(span.rowspan.start, span.colspan.start) for span in spans]
        assert dict(zip([name for name, _ in titles(figure)], places, strict=True)) == {
            **{"a, fc1": (0, 0), "a, fc3": (0, 1)},
            **{"b, fc1": (1, 0), "b, fc3": (1, 1), "b, fc2": (1, 2)},
        }

    def test_24_of_a_hundred_layers_are_drawn_and_the_others_counted(self) -> None:
        figure = draw_histograms(*(weights(f"model.layers.{i}.mlp.up_proj", [1.0, 0.0]) for i in range(100)))
        assert len(figure.axes) == 24
        assert figure.get_supxlabel() == "weight (76 more layers are in the table)"

    def test_of_a_hundred_layers_whose_hoyer_is_known_the_least_and_the_most_sparse_are_drawn(self) -> None:
        layers = pd.DataFrame([row for i in range(100) for row in weights(f"fc{i}", [1.0, 0.0])])
        figure = histograms(layers, {("a", f"fc{i}"): math.nan if i == 0 else abs(i - 50) for i in range(100)})
        numbers = [*range(1, 7), *range(44, 57), *range(94, 100)]  # |i - 50| is 0 to 6, and 44 to 49
        assert {name for name, _ in titles(figure)} <= {f"fc{i}" for i in numbers}
        assert len(figure.axes) == 24
        text = "weight (the 12 least and 12 most sparse of 100 layers by Hoyer; the table has all)"
        assert figure.get_supxlabel() == text


def test_without_layers_the_pictures_say_so() -> None:
    columns = ["model", "seed", "layer", "measure", "value", "low", "high", "count"]
    for figure in (sparsity(pd.DataFrame(columns=columns), STUDY), histograms(pd.DataFrame(columns=columns))):
        assert [text.get_text() for text in figure.texts] == ["no model has a fully-connected layer"]
        assert figure.axes == []
    figure = histograms(pd.DataFrame(columns=columns), {("a", "fc1"): 0.5})  # whose scale is not known
    assert [text.get_text() for text in figure.texts] == ["no layer has weights of a known scale"]


def read_back(frame: pd.DataFrame) -> pd.DataFrame:
    """The frame as the picture gets it: from its CSV file."""
    return pd.read_csv(io.StringIO(frame.to_csv(index=False)), keep_default_na=False, na_values=[""])


@pytest.mark.parametrize("small", [False, True])
def test_the_same_table_gives_the_same_bytes_in_both_formats(small: bool) -> None:
    frame = study("hoyer", "-l1")
    first, second = (DRAWN(lambda: sparsity(read_back(frame), STUDY, REFERENCES), small=small) for _ in range(2))
    assert first == second
    assert first[".png"].startswith(b"\x89PNG\r\n\x1a\n")
    assert int.from_bytes(first[".png"][16:20]) == int(7.5 * (133 if small else 200)), "dots of the width"
    assert first[".png"][25] == (3 if small else 6), "colours: a palette, or red, green, blue and alpha"
    assert b"<svg" in first[".svg"]


def test_numbers_have_three_digits_in_few_characters() -> None:
    values = [0, 0.13397, 12.0, 2934.2, 99_949, 123_456, -0.000_062_5, 9.999e-4]
    texts = ["0", "0.134", "12", "2,930", "99,900", "1.23e5", f"{MINUS}6.25e{MINUS}5", f"1e{MINUS}3"]
    assert [digits(value) for value in values] == texts
