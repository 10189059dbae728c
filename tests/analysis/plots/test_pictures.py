"""What is drawn where in the pictures of what was measured, read back from the figures themselves."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from matplotlib.axes import Axes
from matplotlib.colors import to_hex
from matplotlib.figure import Figure

from analysis.plots import latency as latency_plots
from analysis.plots.style import COLOURS
from analysis.tables.columns import read
from analysis.tables.numbers import TIMES
from study.artifacts import Artifacts
from tests.support.reporting import analyse
from tests.support.synthetic import case, comparison, write_bench, write_run


def texts(axis: Axes) -> list[str]:
    return [text.get_text() for text in axis.texts]


def points(axis: Axes) -> list[Any]:
    """x, y and the colour of the face of every single point."""
    markers = [line for line in axis.lines if line.get_marker() not in ("None", "|", "_")]
    places = [(np.asarray(line.get_xydata()), to_hex(line.get_markerfacecolor())) for line in markers]
    return [(*map(float, place[0]), face) for place, face in places if len(place) == 1]


def legend(figure: Figure) -> list[str]:
    return [text.get_text() for text in figure.legends[0].get_texts()]


@pytest.fixture
def drawn(artifacts: Artifacts) -> Any:
    """Draws a picture of a study of two models, one invalid, and one file of the user's own."""
    write_run(artifacts, "gap", 0, {}, test_error=0.09)
    own = {"seed": None, "onnx_sha256": "f" * 64}
    doubt = {"valid": False, "reasons": ["hot"]}
    write_bench(
        artifacts,
        [
            *(case(artifacts, "baseline", "torch", n, s) for n, s in ((1, 100e-6), (32, 800e-6))),
            *(case(artifacts, "baseline", "onnxruntime", n, s) for n, s in ((1, 20e-6), (32, 200e-6))),
            case(artifacts, "gap", "torch", 1, 150e-6, **doubt),
            case(artifacts, "an_extremely_long_name_of_a_file", "fast", 1, 50e-6, **own),
        ],
        [
            comparison(artifacts, "baseline", 1, 5.0, 4.8, 5.1, noise_floor=0.02),
            comparison(artifacts, "gap", 1, 3.0, 2.8, 3.1, verdict="withheld", **doubt),
        ],
    )
    analyse(artifacts.root, "--models", "baseline,gap")

    def draw(name: str) -> Figure:
        figure: Figure = getattr(latency_plots, name)(read(artifacts.report / f"{name}.csv"))
        return figure

    return draw


class TestLatency:
    def test_a_panel_a_batch_and_a_row_a_model(self, drawn: Any) -> None:
        axes = drawn("latency").axes
        assert [axis.get_title(loc="left") for axis in axes] == ["batch 1", "batch 32"]
        labels = [label.get_text() for label in axes[0].get_yticklabels()]
        assert labels == ["baseline", "gap", "an_extremely…me_of_a_file"]

    def test_medians_are_where_and_what_they_are(self, drawn: Any) -> None:
        axis = drawn("latency").axes[0]
        assert axis.get_xscale() == "log"
        assert [(x, face) for x, _, face in points(axis)] == [
            (pytest.approx(100), COLOURS[0].lower()),
            (pytest.approx(20), COLOURS[1].lower()),
            (pytest.approx(150), "#ffffff"),  # not valid
            (pytest.approx(50), COLOURS[2].lower()),
        ]
        assert texts(axis) == ["100", "20.0", "150", "50.0"]

    def test_runtimes_are_named_as_they_call_themselves(self, drawn: Any) -> None:
        assert legend(drawn("latency")) == ["torch", "ONNX Runtime", "fast"]


class TestComparisons:
    def test_the_floor_is_drawn_around_1_at_its_own_comparison(self, drawn: Any) -> None:
        (axis,) = drawn("comparisons").axes
        extents = [band.get_paths()[0].get_extents() for band in axis.collections if band.get_facecolor().size]
        floors = [(box.x0, box.x1) for box in extents if box.x0 < 1 < box.x1]
        assert floors == [pytest.approx((0.980392, 1.02)), pytest.approx((0.996016, 1.004))]  # 1 / 1.02, 1 / 1.004
        assert [(box.y0 + box.y1) / 2 for box in extents[-2:]] == pytest.approx([0, 1])

    def test_the_axis_holds_the_widest_floor_even_one_above_100_percent(self, artifacts: Artifacts) -> None:
        noisy = comparison(artifacts, "baseline", 1, 1.0, 0.9, 1.1, noise_floor=1.5)
        write_bench(artifacts, [case(artifacts, "baseline", "torch", 1, 1e-4)], [noisy])
        analyse(artifacts.root)
        figure: Any = latency_plots.comparisons(read(artifacts.report / "comparisons.csv"))
        (axis,) = figure.axes
        (band,) = [it.get_paths()[0].get_extents() for it in axis.collections if it.get_facecolor().size]
        assert (band.x0, band.x1) == pytest.approx((0.4, 2.5))
        left, right = axis.get_xlim()
        assert 0.35 < left < 0.4
        assert 2.5 < right < 2.8

    def test_the_value_is_beside_it_and_what_is_withheld_is_hollow(self, drawn: Any) -> None:
        (axis,) = drawn("comparisons").axes
        assert texts(axis)[:2] == [f"5.00{TIMES} (4.80 to 5.10)  ±2.00 %", f"3.00{TIMES} (2.80 to 3.10)  ±0.40 %"]
        assert [(x, face) for x, _, face in points(axis)] == [(5, COLOURS[1].lower()), (3, "#ffffff")]
        assert "times as fast as torch" in axis.get_xlabel()
        assert legend(drawn("comparisons")) == ["ONNX Runtime", "noise floor"]


class TestThroughput:
    def test_a_panel_a_model_and_a_line_a_runtime(self, drawn: Any) -> None:
        axes = drawn("throughput").axes
        assert [axis.get_title(loc="left") for axis in axes] == ["baseline", "gap", "an_extremely…me_of_a_file"]
        lines = [line.get_xydata().tolist() for line in axes[0].lines if len(line.get_xdata()) == 2]
        assert lines == [
            [pytest.approx([1, 10_000]), pytest.approx([32, 40_000])],
            [pytest.approx([1, 50_000]), pytest.approx([32, 160_000])],
        ]
        assert [face for *_, face in points(axes[1])] == ["#ffffff"]
        assert (axes[0].get_xscale(), axes[0].get_yscale()) == ("log", "log")
        assert [tick.get_text() for tick in axes[0].get_xticklabels()] == ["1", "32"]

    def test_nine_runtimes_have_more_lines_than_there_are_looks(self, artifacts: Artifacts) -> None:
        runtimes = ["torch", "onnxruntime", *(f"engine{i}" for i in range(7))]
        write_bench(
            artifacts,
            [case(artifacts, "baseline", it, n, i * 1e-5) for i, it in enumerate(runtimes, 1) for n in (1, 32)],
            [],
        )
        analyse(artifacts.root)
        figure: Any = latency_plots.throughput(read(artifacts.report / "throughput.csv"))
        lines = [line for line in figure.axes[0].lines if len(line.get_xdata()) == 2]
        assert [line.get_ydata()[0] for line in lines] == pytest.approx([1e5 / i for i in range(1, 10)])
        assert legend(figure) == ["torch", "ONNX Runtime", *runtimes[2:]]
        looks = [(line.get_color(), line.get_linestyle()) for line in lines]
        assert looks == [(line.get_color(), line.get_linestyle()) for line in figure.legends[0].get_lines()]
        assert len(set(looks[:8])) == 8
        assert looks[8][0] == looks[0][0], "there are eight colours"


class TestAccuracy:
    def test_a_panel_a_runtime_and_a_point_a_model(self, drawn: Any) -> None:
        figure = drawn("accuracy")
        assert [axis.get_title(loc="left") for axis in figure.axes] == ["torch", "ONNX Runtime"]
        assert points(figure.axes[0]) == [
            (pytest.approx(100), pytest.approx(8), COLOURS[0].lower()),
            (pytest.approx(150), pytest.approx(9), "#ffffff"),
        ]
        assert [(x, y) for x, y, _ in points(figure.axes[1])] == [(pytest.approx(20), pytest.approx(8))]
        assert legend(figure) == ["baseline", "gap"]


@pytest.mark.parametrize("name", ["latency", "comparisons", "throughput", "accuracy"])
class TestEveryPicture:
    def test_without_measurements_it_says_so(self, artifacts: Artifacts, name: str) -> None:
        analyse(artifacts.root)
        figure = getattr(latency_plots, name)(read(artifacts.report / f"{name}.csv"))
        (text,) = figure.texts
        assert text.get_text().startswith("no ")
        assert figure.axes == []

    @pytest.mark.usefixtures("drawing")
    def test_it_is_drawn_from_the_csv_of_its_name(
        self, reported: tuple[Path, str, str], name: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        seen: list[pd.DataFrame] = []
        draw = getattr(latency_plots, name)

        def watched(frame: pd.DataFrame) -> Figure:
            seen.append(frame)
            figure: Figure = draw(frame)
            return figure

        monkeypatch.setattr(latency_plots, name, watched)
        analyse(reported[0], "--fresh")
        pd.testing.assert_frame_equal(seen[0], read(reported[0] / "report" / f"{name}.csv"))

    @pytest.mark.parametrize("device", ["cpu", "cuda"])
    def test_one_point_without_any_spread_is_drawn(self, artifacts: Artifacts, name: str, device: str) -> None:
        exact = {"median_low_seconds": 1e-4, "median_high_seconds": 1e-4, "device": device}
        pair = comparison(artifacts, "baseline", 1, 1, 1, 1, noise_floor=0, device=device)
        write_bench(artifacts, [case(artifacts, "baseline", "torch", 1, 1e-4, **exact)], [pair])
        analyse(artifacts.root)
        figure = getattr(latency_plots, name)(read(artifacts.report / f"{name}.csv"))
        assert len(points(figure.axes[0])) == 1
        engine = "ONNX Runtime" if name == "comparisons" else "torch"
        told = legend(figure)[0] if name != "accuracy" else figure.axes[0].get_title(loc="left")
        assert told == (engine if device == "cpu" else f"{engine} on cuda")
