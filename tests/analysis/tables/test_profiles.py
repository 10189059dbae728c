"""Tables and picture of profiles: made-up ones of one call in two engines, whose every number is known."""

from pathlib import Path

import pandas as pd
import pytest

from analysis.inputs.benchmarks import Measured, Measurements
from analysis.plots.profiles import profile_modules as picture
from analysis.tables.numbers import MISSING, TIMES
from analysis.tables.profiles import OUTSIDE, profile, profile_modules, shown
from study.artifacts import Artifacts
from study.pictures import style
from tests.support.records import profile as record

NOWHERE = Artifacts(Path("no artifacts"))
US = 1e-6
TORCH = record(
    NOWHERE,
    "net",
    "torch",
    [("conv2d_0", "conv1", 30 * US), ("relu_1", "", 4 * US), ("linear_2", "fc", 6 * US), ("relu_3", "", 2 * US)],
    outside_seconds=18 * US,
)
ONNX = record(
    NOWHERE, "net", "onnxruntime", [("Conv_0", "conv1", 6 * US), ("Gemm_1", "fc", 3 * US), ("Sub_2", None, 1 * US)]
)


def measured(*records: object, file: str = "bench.json") -> Measurements:
    return Measurements(profiles=tuple(Measured(one, "net", file, "a machine") for one in records))  # type: ignore[arg-type]


def test_a_row_has_an_operator_in_the_order_of_the_call() -> None:
    frame = profile(measured(TORCH))
    assert frame["operator"].tolist() == ["conv2d_0", "relu_1", "linear_2", "relu_3"]
    assert frame["position"].tolist() == [1, 2, 3, 4]
    assert frame["share"].tolist() == pytest.approx([0.5, 4 / 60, 0.1, 2 / 60])


def test_a_module_has_the_sum_of_its_operators_in_each_engine() -> None:
    frame = profile_modules(measured(TORCH, ONNX))
    microseconds = (frame["seconds"] / US).round().astype(int)
    assert list(zip(frame["module"], frame["runtime"], microseconds, strict=True)) == [
        ("conv1", "torch", 30),
        ("conv1", "onnxruntime", 6),
        ("fc", "torch", 6),
        ("fc", "onnxruntime", 3),
        ("(the network itself)", "torch", 6),
        ("(not attributed)", "onnxruntime", 1),
        (OUTSIDE, "torch", 18),
        (OUTSIDE, "onnxruntime", 0),
    ]
    assert frame["operators"].tolist()[:6] == [1, 1, 1, 1, 2, 1]


def test_people_read_the_engines_side_by_side_with_their_ratio() -> None:
    table = shown(profile_modules(measured(TORCH, ONNX)))
    assert table["torch / ONNX Runtime"].tolist() == [f"5.0{TIMES}", f"2.0{TIMES}", MISSING, MISSING, MISSING]
    assert table["torch, µs"].tolist() == ["30.0", "6.0", "6.0", MISSING, "18.0"]


def test_a_model_is_shown_at_its_smallest_batch() -> None:
    larger = record(NOWHERE, "net", "torch", [("conv2d_0", "conv1", 90 * US)], batch=32)
    assert set(shown(profile_modules(measured(larger, TORCH)))["batch"]) == {1}


def test_the_picture_has_a_bar_for_each_module_and_engine() -> None:
    with style():
        (panel, *_) = picture(profile_modules(measured(TORCH, ONNX))).axes
    widths = sorted(round(bar.get_width()) for bar in panel.patches)  # type: ignore[attr-defined]
    assert widths == [0, 1, 3, 6, 6, 6, 18, 30]
    names = [label.get_text() for label in panel.get_yticklabels()]
    assert names == ["conv1", "fc", "(the network itself)", "(not attributed)", OUTSIDE]


def test_the_picture_has_the_longest_modules_and_the_sum_of_the_others() -> None:
    many = record(NOWHERE, "net", "torch", [(f"linear_{i}", f"layer{i}", (50 - i) * US) for i in range(20)])
    with style():
        (panel, *_) = picture(profile_modules(measured(many))).axes
    names = [label.get_text() for label in panel.get_yticklabels()]
    assert names == [*(f"layer{i}" for i in range(12)), "(others)", OUTSIDE]
    assert round(panel.patches[12].get_width()) == sum(50 - i for i in range(12, 20))  # type: ignore[attr-defined]


def test_without_profiles_nothing_is_drawn() -> None:
    assert profile_modules(Measurements()).empty
    assert isinstance(shown(profile_modules(Measurements())), pd.DataFrame)
    assert picture(profile_modules(Measurements())).texts[0].get_text() == "nothing was profiled"
