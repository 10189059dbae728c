"""The first picture of a report, and those of errors and confusions, read back from their axes."""

from typing import Any

import numpy as np
import pandas as pd
import pytest

from analysis.plots.errors import confusion, errors
from analysis.plots.mistakes import mistakes
from analysis.plots.overview import overview, spread_out
from tests.analysis.plots.reading import legend, xy

ENDS = {"median_low_seconds": 1e-5, "median_high_seconds": 3e-4, "valid": True}
SIZE = {"test_error_mean": 0.08, "test_error_lowest": 0.07, "test_error_highest": 0.09, "onnx_bytes": 250_000}
SMALL = {**SIZE, "test_error_mean": 0.09, "test_error_highest": 0.1, "onnx_bytes": 62_500}


def test_the_area_of_a_mark_is_the_size_of_the_file_and_its_place_the_error_and_the_time() -> None:
    rows = [
        {"model": model, "runtime": runtime, "median_seconds": seconds, **size, **ENDS}
        for model, size in (("large", SIZE), ("small", SMALL))
        for runtime, seconds in (("torch", 2e-4), ("onnxruntime", 2e-5))
    ]
    figure = overview(pd.DataFrame(rows))
    (axis,) = figure.axes
    marks = [(*np.asarray(mark.get_offsets())[0], mark.get_sizes()[0]) for mark in axis.collections]  # type: ignore[attr-defined]
    assert [(x, y) for x, y, _ in marks] == [pytest.approx(place) for place in ((200, 8), (20, 8), (200, 9), (20, 9))]
    assert marks[0][2] == pytest.approx(4 * marks[2][2])
    assert [text.get_text() for text in axis.texts] == ["large (244 KiB)", "small (61 KiB)"]
    assert legend(figure) == ["ONNX Runtime", "PyTorch (eager)", "lowest to highest run", "the same model"]
    joined = [line for line in axis.lines if len(set(xy(line)[:, 1])) == 1 and set(xy(line)[:, 0]) == {20, 200}]
    assert len(joined) == 2
    entry = figure.legends[0].get_lines()[-1]
    assert {(line.get_color(), line.get_linestyle(), line.get_linewidth()) for line in [*joined, entry]} == {
        ("0.45", "-", 1.0)
    }


def test_without_a_latency_the_error_is_over_the_size() -> None:
    nothing = {"runtime": None, "median_seconds": None, "median_low_seconds": None, "median_high_seconds": None}
    frame = pd.DataFrame([{"model": "a", **SIZE, **nothing, "valid": None}]).astype({"median_seconds": float})
    frame = frame.astype({"median_low_seconds": float, "median_high_seconds": float})
    figure = overview(frame)
    assert "size of the ONNX file" in figure.axes[0].get_xlabel()
    assert legend(figure) == ["model", "lowest to highest run"], "no marks are joined"


def test_names_are_moved_apart_and_keep_their_order() -> None:
    assert spread_out([0.1, 0.9], 0.2) == [0.1, 0.9]
    assert spread_out([0.5, 0.5, 0.5], 0.1) == pytest.approx([0.4, 0.5, 0.6])
    places = spread_out([0.1, 0.5, 0.51, 0.52, 0.65], 0.1)
    assert np.diff(places).min() >= 0.1 - 1e-9


def test_errors_have_a_point_a_run_and_the_difference_with_its_noise() -> None:
    same = {"test_error_mean": 0.09, "test_error_change": 0.01, "test_error_noise": 0.004, "verdict": "worse"}
    base = {"test_error_mean": 0.08, "test_error_change": None, "test_error_noise": None, "verdict": "baseline"}
    rows: list[dict[str, Any]] = [{"model": "base", "seed": 0, "test_error": 0.08, **base}]
    rows += [{"model": "bad", "seed": seed, "test_error": error, **same} for seed, error in enumerate((0.085, 0.095))]
    left, right = errors(pd.DataFrame(rows)).axes
    runs = [xy(line)[:, 0].tolist() for line in left.lines if line.get_marker() == "o"]
    assert runs == [pytest.approx([8]), pytest.approx([8.5, 9.5])]
    assert xy(next(line for line in right.lines if len(xy(line)) == 2)).tolist() == [
        [pytest.approx(0.6), 1],
        [pytest.approx(1.4), 1],
    ]
    assert len(errors(pd.DataFrame(rows[:1])).axes) == 1, "there is nothing to compare"


def test_confusions_of_further_models_are_differences_from_the_first() -> None:
    shares = {"a": [[0.9, 0.1], [0.2, 0.8]], "b": [[0.85, 0.15], [0.2, 0.8]]}
    rows = [
        {
            "model": model,
            "label": i,
            "label_name": "xy"[i],
            "predicted": j,
            "predicted_name": "xy"[j],
            "share": values[i][j],
        }
        for model, values in shares.items()
        for i in (0, 1)
        for j in (0, 1)
    ]
    first, second = confusion(pd.DataFrame(rows)).axes
    assert [text.get_text() for text in first.texts] == ["90", "10", "20", "80"]
    assert [text.get_text().replace("\N{MINUS SIGN}", "-") for text in second.texts] == ["-5", "+5"]


def test_misclassified_images_stand_above_their_class_and_what_they_are_taken_for() -> None:
    row = {"model": "a", "image": 1, "label_name": "Coat", "predicted_name": "Shirt"}
    images = np.zeros((2, 1, 4, 4), np.uint8)
    images[1] = 255
    axis = mistakes(pd.DataFrame([row]), images).axes[0]
    assert np.asarray(axis.images[0].get_array()).max() == 0, "white on black, as it is stored, is black on white"
    assert axis.texts[0].get_text().split() == ["Coat", "\N{RIGHTWARDS ARROW}", "Shirt"]
    assert mistakes(pd.DataFrame([row]), None).axes == []
