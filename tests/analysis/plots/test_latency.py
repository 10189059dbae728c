"""The pictures of measurements, drawn once and read back from their axes."""

from typing import Any

import pandas as pd
import pytest

from analysis.plots import latency as plots
from analysis.tables.numbers import TIMES
from study.pictures import COLOURS
from tests.analysis.plots.reading import beside, curves, legend, points, rows, texts, xy

LONG = "an_extremely_long_name_of_a_file"
WHITE = "#FFFFFF"


def case(model: str, runtime: str, batch: int, seconds: float, **changes: Any) -> dict[str, Any]:
    """A row of latency.csv and images_per_second.csv, with an interval of 2 % on either side."""
    row = {"model": model, "seed": 0, "runtime": runtime, "batch": batch, "threads": 1, "mode": "native"}
    row |= {"device": "cpu", "samples": 100, "processes": 5, "valid": True, "measured_on": "m"}
    row |= {"file": "bench.json", "median_seconds": seconds}
    for name, factor in (("low", 0.98), ("high", 1.02)):
        row |= {f"median_{name}_seconds": factor * seconds, f"images_per_second_{name}": factor * batch / seconds}
    return row | {"images_per_second_at_median": batch / seconds, **changes}


def pair(
    model: str, batch: int, ratio: float, low: float, high: float, margin: float, **changes: Any
) -> dict[str, Any]:
    """A row of comparisons.csv."""
    row = {"ratio": ratio, "low": low, "high": high, "margin": margin, "verdict": "faster", "best": False}
    row |= {"unpaired_ratio": ratio * 0.97, "unpaired_low": low, "unpaired_high": high}
    return case(model, "onnxruntime", batch, 1.0) | row | {"reference": "torch", "reasons": "", **changes}


CASES = pd.DataFrame(
    [
        *(case("baseline", "torch", n, s) for n, s in ((1, 100e-6), (32, 800e-6))),
        *(case("baseline", "onnxruntime", n, s) for n, s in ((1, 20e-6), (32, 200e-6))),
        case("gap", "torch", 1, 150e-6, valid=False),
        case(LONG, "fast", 1, 50e-6),
    ]
)
NAMES = ["baseline", "gap", "an_extremely…me_of_a_file"]


def test_latency_has_a_panel_a_batch_a_row_a_model_and_a_point_a_runtime() -> None:
    figure = plots.latency(CASES)
    axis, other = figure.axes
    assert [it.get_title(loc="left") for it in figure.axes] == ["batch 1", "batch 32"]
    assert rows(axis) == NAMES
    assert axis.yaxis_inverted()
    assert axis.get_xscale() == "log"
    assert [(x, round(y), face) for x, y, face in points(axis)] == [
        (pytest.approx(100), 0, COLOURS[0]),
        (pytest.approx(150), 1, WHITE),  # invalid
        (pytest.approx(20), 0, COLOURS[1]),
        (pytest.approx(50), 2, COLOURS[2]),
    ]
    assert beside(axis) == ["100", "150", "20.0", "50.0"]
    assert [x for x, *_ in points(other)] == pytest.approx([800, 200])
    assert [y for _, y, _ in points(other)] == pytest.approx([-0.18, 0.18]), "centred, without room for the third"
    assert legend(figure) == ["torch", "ONNX Runtime", "fast"]


def test_of_many_batch_sizes_four_have_a_panel_and_a_line_says_so() -> None:
    figure: Any = plots.latency(pd.DataFrame([case("gap", "torch", n, n * 1e-5) for n in range(1, 12)]))
    assert [it.get_title(loc="left") for it in figure.axes] == [f"batch {n}" for n in (1, 4, 8, 11)]
    assert figure.get_supxlabel() == "4 of 11 batch sizes; the table has all"
    assert plots.latency(CASES).get_supxlabel() == ""


def test_a_comparison_has_its_value_beside_it_its_margin_around_1_and_is_hollow_if_withheld() -> None:
    frame = [pair("baseline", 1, 5.0, 4.8, 5.1, 0.02), pair("gap", 1, 3.0, 2.8, 3.1, 0.004, verdict="withheld")]
    figure = plots.comparisons(pd.DataFrame(frame))
    (axis,) = figure.axes
    assert [(x, face) for x, _, face in points(axis)] == [(5, COLOURS[1]), (3, WHITE)]
    assert beside(axis) == [f"5.00{TIMES} (4.80 to 5.10)", f"3.00{TIMES} (2.80 to 3.10)"]
    patches: Any = axis.patches
    margins = [(bar.get_x(), bar.get_x() + bar.get_width(), bar.get_center()[1]) for bar in patches]
    assert margins == [pytest.approx((1 / 1.02, 1.02, 0)), pytest.approx((1 / 1.004, 1.004, 1))]
    assert "times as fast as torch" in axis.get_xlabel()
    assert legend(figure) == ["ONNX Runtime", "margin of 0.4 or 2 %", "ratio of the medians"]


def test_best_against_best_is_a_series_beside_the_engines_as_they_are_and_other_settings_are_left_out() -> None:
    frame = [
        pair("gap", 1, 8.0, 7.9, 8.1, 0.02),
        pair("gap", 1, 1.4, 1.3, 1.5, 0.02, runtime="torch-compile"),
        pair("gap", 1, 5.0, 4.9, 5.1, 0.02, reference="torch-compile", best=True),
        pair("baseline", 1, 7.0, 6.9, 7.1, 0.02, best=True),
    ]
    figure = plots.comparisons(pd.DataFrame(frame))
    (axis,) = figure.axes
    found = {(x, round(2 * y) / 2, face) for x, y, face in points(axis)}
    assert {(x, face) for x, _, face in found} == {(8, COLOURS[1]), (7, COLOURS[1]), (5, COLOURS[2]), (7, COLOURS[2])}
    assert legend(figure)[:2] == ["ONNX Runtime", "ONNX Runtime, best against best"]
    assert "times as fast as torch or its best setting (log scale)" in axis.get_xlabel()
    (axis,) = plots.comparisons(pd.DataFrame(frame[:2])).axes
    assert len(points(axis)) == 2, "without best against best all settings are drawn"


def test_the_ratio_of_the_medians_is_a_tick_within_the_axis_beside_the_paired_one() -> None:
    frame = [pair("baseline", 1, 2.0, 1.9, 2.1, 0.02), pair("gap", 1, 3.0, 2.8, 3.1, 0.02, unpaired_ratio=4.5)]
    (axis,) = plots.comparisons(pd.DataFrame(frame)).axes
    ticks = [place for line in axis.lines if line.get_color() == plots.UNPAIRED["color"] for place in xy(line).tolist()]
    assert ticks == [pytest.approx([1.94, 0]), pytest.approx([4.5, 1])]
    assert axis.get_xlim()[1] > 4.5
    figure = plots.comparisons(pd.DataFrame([pair("gap", 1, 3.0, 2.8, 3.1, 0.02, unpaired_ratio=float("nan"))]))
    assert legend(figure) == ["ONNX Runtime", "margin of 2 %"]


def test_the_axis_of_comparisons_holds_the_widest_margin_even_one_above_100_percent() -> None:
    (axis,) = plots.comparisons(pd.DataFrame([pair("baseline", 1, 1.0, 0.9, 1.1, 1.5)])).axes
    left, right = axis.get_xlim()
    assert 0.35 < left < 1 / 2.5
    assert 2.5 < right < 2.8


def test_images_per_second_has_a_panel_a_model_and_a_line_a_runtime() -> None:
    axes = plots.images_per_second(CASES).axes
    assert [axis.get_title(loc="left") for axis in axes] == NAMES
    lines = [xy(line).tolist() for line in curves(axes[0])]
    assert lines == [[[1, 10_000], [32, 40_000]], [[1, 50_000], [32, 160_000]]]
    assert [face for *_, face in points(axes[1])] == [WHITE]
    assert (axes[0].get_xscale(), axes[0].get_yscale()) == ("log", "log")
    assert [tick.get_text() for tick in axes[0].get_xticklabels()] == ["1", "32"]


def test_eight_runtimes_have_lines_of_their_own_and_the_ninth_has_a_colour_again() -> None:
    runtimes = ["torch", "onnxruntime", *(f"engine{i}" for i in range(7))]
    cases = [case("baseline", name, n, i * 1e-5) for i, name in enumerate(runtimes, 1) for n in (1, 32)]
    figure: Any = plots.images_per_second(pd.DataFrame(cases))
    lines: list[Any] = curves(figure.axes[0])
    assert [line.get_ydata()[0] for line in lines] == pytest.approx([1e5 / i for i in range(1, 10)])
    assert legend(figure) == ["torch", "ONNX Runtime", *runtimes[2:]]
    looks = [(line.get_color(), line.get_linestyle()) for line in lines]
    assert looks == [(line.get_color(), line.get_linestyle()) for line in figure.legends[0].get_lines()]
    assert len(set(looks[:8])) == 8
    assert looks[8][0] == looks[0][0]


def errors(mean: float) -> dict[str, float]:
    return {"test_error_mean": mean, "test_error_lowest": mean - 0.01, "test_error_highest": mean + 0.01}


def test_accuracy_has_a_panel_a_runtime_and_a_point_a_model() -> None:
    frame = [
        case("baseline", "torch", 1, 100e-6, **errors(0.08)),
        case("gap", "torch", 1, 150e-6, valid=False, **errors(0.09)),
        case("baseline", "onnxruntime", 1, 20e-6, **errors(0.08)),
    ]
    figure = plots.accuracy(pd.DataFrame(frame))
    left, right = figure.axes
    assert [axis.get_title(loc="left") for axis in figure.axes] == ["torch", "ONNX Runtime"]
    assert points(left) == [(pytest.approx(100), 8, COLOURS[0]), (pytest.approx(150), 9, WHITE)]
    assert [(x, y) for x, y, _ in points(right)] == [(pytest.approx(20), 8)]
    assert legend(figure) == ["baseline", "gap"]


@pytest.mark.parametrize("name", plots.PICTURES)
def test_a_picture_without_rows_says_so_and_one_row_without_spread_is_drawn(name: str) -> None:
    draw = getattr(plots, name)
    one = pair("baseline", 1, 1, 1, 1, 0, device="cuda", **errors(0.08))
    one |= dict.fromkeys(("median_low_seconds", "median_high_seconds"), one["median_seconds"])
    figure = draw(pd.DataFrame([one]).iloc[:0])
    assert figure.texts[0].get_text().startswith("no ")
    assert figure.axes == []
    figure = draw(pd.DataFrame([one]))
    assert len(points(figure.axes[0])) == 1
    label = figure.axes[0].get_title(loc="left") if name == "accuracy" else legend(figure)[0]
    assert label == "ONNX Runtime on cuda"
    assert texts(figure.axes[0]) == []
