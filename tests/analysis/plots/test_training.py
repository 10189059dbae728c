"""The pictures of training and of pruning, read back from their axes."""

from typing import Any, ClassVar

import numpy as np
import pandas as pd
import pytest
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis.plots import training
from analysis.plots.pruning import pruning
from study.pictures import style
from tests.analysis.plots.reading import legend, xy


def run(model: str, seed: int, epochs: int, validation: list[float] | None = None) -> list[dict[str, Any]]:
    """A run's rows of history.csv, with the loss 1 / epoch; it kept the epoch with the lowest validation error."""
    errors = validation or [float("nan")] * epochs
    kept = 1 + int(np.argmin(errors)) if validation else epochs
    return [
        {"model": model, "seed": seed, "epoch": n, "train_loss": 1 / n, "train_accuracy": 0.95 - 0.5 / n}
        | {"validation_loss": 3 * error, "validation_accuracy": 1 - error, "kept": n == kept}
        for n, error in enumerate(errors, 1)
    ]


TWO_MODELS = pd.DataFrame(
    [*run("cnn5", 0, 4, [0.3, 0.1, 0.2, 0.2]), *run("cnn5", 1, 3, [0.1, 0.2, 0.4]), *run("plain", 0, 3)]
)
"""A model with two runs that stopped early and kept epochs 2 and 1, and one without validation."""


@pytest.fixture(scope="module")
def figure() -> Figure:
    with style():
        figure = training.histories(TWO_MODELS)
        figure.draw_without_rendering()
    return figure


def lines(axis: Axes, width: float) -> list[list[list[float]]]:
    return [xy(line).tolist() for line in axis.lines if line.get_linewidth() == width]


def rings(axis: Axes) -> list[list[float]]:
    return [ring for line in axis.lines if line.get_marker() == "o" for ring in np.asarray(line.get_xydata()).tolist()]


class TestHistories:
    def test_each_run_is_a_thin_line_and_the_mean_a_thick_one_as_far_as_all_go(self, figure: Figure) -> None:
        loss = figure.axes[0]
        thin = [np.asarray(run).round(9).tolist() for part in loss.collections for run in part.get_segments()]  # type: ignore[attr-defined]
        assert [len(line) for line in thin] == [4, 3, 4, 3], "training, then validation"
        assert thin[3] == [[1, 0.3], [2, 0.6], [3, 1.2]]
        mean, validation = lines(loss, training.MEAN)
        assert [epoch for epoch, _ in mean] == [1, 2, 3]
        assert validation == [[1, 0.6], [2, 0.45], [3, 0.9]]

    def test_the_epoch_that_was_kept_has_a_ring(self, figure: Figure) -> None:
        loss, accuracy, *others = figure.axes
        assert rings(loss) == [[2, pytest.approx(0.3)], [1, pytest.approx(0.3)]]
        assert rings(accuracy) == [[2, pytest.approx(10)], [1, pytest.approx(10)]], "errors, on an inverted axis"
        assert [rings(axis) for axis in others] == [[], []]

    def test_accuracies_are_labelled_and_grow_upwards(self, figure: Figure) -> None:
        low, high = figure.axes[1].get_ylim()
        assert low > high
        labels = [float(label.get_text()) for label in figure.axes[1].get_yticklabels()]
        assert labels == [pytest.approx(100 - error) for error in figure.axes[1].get_yticks()]

    def test_a_model_without_validation_has_its_training_alone_and_says_so(self, figure: Figure) -> None:
        assert [axis.get_title(loc="left") for axis in figure.axes] == [
            *("cnn5, 2 runs", ""),
            *("plain, 1 run", "no validation images"),
        ]
        assert [len(line) for line in lines(figure.axes[2], training.MEAN)] == [3, 0]

    def test_the_legend_has_what_is_drawn_and_no_more(self, figure: Figure) -> None:
        every = ["training, mean of the runs", "validation, mean of the runs", "one run", "epoch kept"]
        assert legend(figure) == every
        assert legend(training.histories(TWO_MODELS[TWO_MODELS["model"] == "plain"])) == every[:1]

    def test_rows_that_share_have_the_same_epochs_and_the_same_scale_of_accuracies(self) -> None:
        upper, lower = np.reshape(np.array(training.histories(TWO_MODELS, shared=True).axes), (2, 2))
        assert upper[0].get_xlim() == lower[0].get_xlim() == upper[1].get_xlim() == lower[1].get_xlim()
        assert upper[1].get_ylim() == lower[1].get_ylim()
        assert upper[0].get_ylim() != lower[0].get_ylim(), "losses are of different criteria"


def bands(axis: Axes) -> list[set[Any]]:
    """The corners of each band."""
    corners = [np.round(np.asarray(band.get_paths()[0].vertices), 6).tolist() for band in axis.collections]
    return [set(map(tuple, band)) for band in corners]


class TestConvergence:
    TRAINED: ClassVar = {("a", 0): (0.5, 0.2), ("a", 1): (0.3, 0.1), ("b", 0): (0.4, 0.05)}
    TESTED = pd.DataFrame({"model": ["a", "a", "b"], "seed": [0, 1, 0], "test_error": [0.3, 0.4, 0.2]})

    def drawn(self, validation: float = float("nan")) -> Figure:
        rows = [
            {"model": model, "seed": seed, "epoch": n, "train_error": error, "validation_error": validation}
            for (model, seed), run in self.TRAINED.items()
            for n, error in enumerate(run, 1)
        ]
        return training.convergence(pd.DataFrame(rows), self.TESTED)

    def test_a_panel_has_the_mean_of_its_model_in_the_band_of_its_runs_and_the_others_in_grey(self) -> None:
        first, second = self.drawn().axes
        assert [axis.get_title(loc="left") for axis in (first, second)] == ["a", "b"]
        assert lines(first, training.MEAN)[0] == [[1, 40], [2, 15]]
        assert bands(first)[0] == {(1, 30), (1, 50), (2, 10), (2, 20)}
        grey = lines(second, training.OTHERS["linewidth"])
        assert grey[0] == [[1, 40], [2, 15]]

    def test_the_test_errors_stand_at_the_end(self) -> None:
        marks = [xy(line) for line in self.drawn().axes[0].lines if line.get_marker() == "D"]
        assert [mark.tolist() for mark in marks] == [[[2, 30], [2, 40]], [[2, 35]]]

    def test_validation_is_drawn_and_in_the_legend_where_there_is_some(self) -> None:
        name = "validation, mean of the runs"
        assert name not in legend(self.drawn())
        validated = self.drawn(0.25)
        assert name in legend(validated)
        assert [[1, 25], [2, 25]] in lines(validated.axes[0], training.MEAN)


def test_pruning_has_a_line_a_model_the_loss_allowed_and_a_point_a_run() -> None:
    losses = {0: {0.0: 0.0, 0.5: 0.004, 0.51: 0.006, 1.0: 0.9}, 1: {0.0: 0.0, 0.5: 0.002, 1.0: 0.7}}
    frame = pd.DataFrame(
        [
            {"model": "a", "seed": seed, "share": share, "loss": loss, "chosen": share == 0.5}
            for seed, run in losses.items()
            for share, loss in run.items()
        ]
    )
    figure = pruning(frame, ["a", "gap"])
    (axis,) = figure.axes
    mean, *_, allowed = axis.lines
    assert xy(mean).tolist() == [[0, 0], [50, 0.3], [100, 80]], "51 % was tried in one run"
    assert bands(axis)[0] >= {(50, 0.2), (50, 0.4)}
    (chosen,) = [line for line in axis.lines if line.get_marker() == "o"]
    assert xy(chosen).tolist() == [[50, 0.4], [50, 0.2]]
    assert xy(allowed)[:, 1].tolist() == [0.5, 0.5]
    assert legend(figure) == ["a"]
    (note,) = pruning(frame.iloc[:0], ["a"]).axes[0].texts
    assert note.get_text() == "not measured"
