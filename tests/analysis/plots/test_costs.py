"""The picture of fixed cost and cost per item, read back from its axes."""

import numpy as np
import pandas as pd
import pytest

from analysis.plots.costs import costs
from analysis.tables.numbers import MINUS
from study.pictures import COLOURS
from tests.analysis.plots.reading import curves, legend, overlaps, points, texts
from tests.analysis.plots.test_latency import WHITE, case


def line(model: str, runtime: str, fixed: float, per_item: float, miss: float = np.nan) -> dict[str, object]:
    """A row of costs.csv, in microseconds, with intervals of 2 % on either side."""
    row = case(model, runtime, 0, 1.0) | {"batches": "1, 8, 32", "miss": miss, "miss_batch": 8}
    for name, value in (("fixed", 1e-6 * fixed), ("per_item", 1e-6 * per_item)):
        row |= {f"{name}_seconds": value, f"{name}_low_seconds": 0.98 * value, f"{name}_high_seconds": 1.02 * value}
    return row


TORCH, ONNX = (187, 38.6), (-1.5, 15.1)
LINES = pd.DataFrame([line("baseline", "torch", *TORCH), line("baseline", "onnxruntime", *ONNX, miss=0.31)])
CASES = pd.DataFrame(
    [
        *(case("baseline", "torch", b, 1e-6 * (187 + 38.6 * b)) for b in (1, 8, 32)),
        *(case("baseline", "onnxruntime", b, 1e-6 * (15.1 * b - 1.5), valid=b > 1) for b in (1, 8, 32)),
        case("gap", "torch", 1, 1e-4),
    ]
)


def test_it_has_a_panel_a_model_with_several_batch_sizes_and_a_line_with_points_a_runtime() -> None:
    figure = costs(LINES, CASES)
    (axis,) = figure.axes
    assert (axis.get_xscale(), axis.get_yscale()) == ("log", "log")
    drawn = [np.asarray(it.get_xydata()) for it in curves(axis)]
    for curve, (fixed, per_item) in zip(drawn, (TORCH, ONNX), strict=True):
        assert curve[:, 1] == pytest.approx(fixed + per_item * curve[:, 0])
        assert (curve[0, 0], curve[-1, 0]) == pytest.approx((1, 32))
    assert points(axis) == [
        *((b, pytest.approx(187 + 38.6 * b), COLOURS[0]) for b in (1, 8, 32)),
        *((b, pytest.approx(15.1 * b - 1.5), COLOURS[1]) for b in (8, 32)),
        (1, pytest.approx(13.6), WHITE),  # invalid
    ]
    assert texts(axis) == [f"torch: 187 + 38.6 b µs\nONNX Runtime: ≈ {MINUS}1.50 + 15.1 b µs"]
    assert legend(figure) == ["torch", "ONNX Runtime"]
    assert overlaps(figure) == []


def test_without_several_batch_sizes_it_says_so() -> None:
    assert costs(LINES.iloc[:0], CASES).texts[0].get_text() == "no model was measured at several batch sizes"
