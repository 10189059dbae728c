"""What is drawn where in the pictures of training histories, read back from the figure."""

from typing import Any

import numpy as np
import pandas as pd
import pytest
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis.inputs.entries import read_field
from analysis.plots import training as history_plots
from analysis.plots.style import style
from analysis.tables import training as tables
from study.artifacts import Artifacts
from tests.support.synthetic import layers, write_run


def histories(artifacts: Artifacts) -> tuple[pd.DataFrame, Figure]:
    """history.csv of all runs there are, and its picture."""
    runs = [run for standing in read_field(artifacts, ()).standings for run in standing.runs]
    frame = tables.history(runs)
    with style():
        figure = history_plots.histories(frame)
        figure.draw_without_rendering()
    return frame, figure


def lines(axis: Axes, width: float) -> list[list[list[float]]]:
    return [np.round(np.asarray(line.get_xydata()), 6).tolist() for line in axis.lines if line.get_linewidth() == width]


def rings(axis: Axes) -> list[list[float]]:
    return [np.asarray(line.get_xydata())[0].tolist() for line in axis.lines if line.get_marker() == "o"]


@pytest.fixture
def early(tmp_path: Any) -> Artifacts:
    """A model with two runs that stopped early and kept epochs 2 and 1, and one without validation."""
    artifacts = Artifacts(tmp_path)
    write_run(artifacts, "cnn5", 0, layers(0), validation=[0.3, 0.1, 0.2, 0.2])
    write_run(artifacts, "cnn5", 1, layers(1), validation=[0.1, 0.2, 0.4])
    write_run(artifacts, "cnn5-modern", 0, layers(0))
    return artifacts


class TestHistories:
    def test_each_run_is_a_thin_line_and_the_mean_a_thick_one_as_far_as_all_go(self, early: Artifacts) -> None:
        loss = histories(early)[1].axes[0]
        thin = lines(loss, history_plots.RUN["linewidth"])
        assert [len(line) for line in thin] == [4, 3, 4, 3], "training, then validation"
        assert thin[3] == [[1, 0.3], [2, 0.6], [3, 1.2]]
        training, validation = lines(loss, history_plots.MEAN)
        assert [epoch for epoch, _ in training] == [1, 2, 3]
        assert validation == [[1, 0.6], [2, 0.45], [3, 0.9]]

    def test_the_epoch_that_was_kept_has_a_ring(self, early: Artifacts) -> None:
        loss, accuracy, *others = histories(early)[1].axes
        assert rings(loss) == [[2, pytest.approx(0.3)], [1, pytest.approx(0.3)]]
        assert rings(accuracy) == [[2, pytest.approx(10)], [1, pytest.approx(10)]], "errors, on an inverted axis"
        assert [rings(axis) for axis in others] == [[], []]

    def test_accuracies_are_told_and_grow_upwards(self, early: Artifacts) -> None:
        accuracy = histories(early)[1].axes[1]
        low, high = accuracy.get_ylim()
        assert low > high
        told = [float(label.get_text()) for label in accuracy.get_yticklabels()]
        assert told == [pytest.approx(100 - error) for error in accuracy.get_yticks()]

    def test_a_model_without_validation_has_its_training_alone_and_says_so(self, early: Artifacts) -> None:
        frame, figure = histories(early)
        assert frame[frame["model"] == "cnn5-modern"]["validation_accuracy"].isna().all()
        assert figure.axes[3].get_title(loc="left") == "no images kept back to validate on"
        assert [len(line) for line in lines(figure.axes[2], history_plots.MEAN)] == [3, 0]

    def test_the_legend_has_what_is_drawn_and_no_more(self, early: Artifacts, artifacts: Artifacts) -> None:
        told = [text.get_text() for text in histories(early)[1].legends[0].get_texts()]
        assert told == ["training, mean of the runs", "validation, mean of the runs", "a run", "epoch kept"]
        told = [text.get_text() for text in histories(artifacts)[1].legends[0].get_texts()]
        assert told == ["training, mean of the runs"]

    def test_rows_that_share_have_the_same_epochs_and_the_same_scale_of_accuracies(self, early: Artifacts) -> None:
        with style():
            upper, lower = np.reshape(np.array(history_plots.histories(histories(early)[0], shared=True).axes), (2, 2))
        assert upper[0].get_xlim() == lower[0].get_xlim() == upper[1].get_xlim() == lower[1].get_xlim()
        assert upper[1].get_ylim() == lower[1].get_ylim()
        assert upper[0].get_ylim() != lower[0].get_ylim(), "losses are of different criteria"

    def test_kept_is_the_last_epoch_where_nothing_stopped_early(self, artifacts: Artifacts) -> None:
        assert histories(artifacts)[0]["kept"].tolist() == [False, False, True]
